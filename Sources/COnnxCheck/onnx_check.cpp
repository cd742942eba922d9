#include "onnx_check.h"
