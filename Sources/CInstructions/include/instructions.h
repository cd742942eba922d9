#pragma once
#include <stdint.h>

/// The features of the running processor as the bits of Swift's `CPUFeatures`; 0 where none is known.
uint32_t qcc_cpu_features(void);
