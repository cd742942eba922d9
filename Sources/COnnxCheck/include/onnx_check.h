#pragma once
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum onnx_check_result {
  ONNX_CHECK_OK = 0,
  /* The checker objects; `message` says to what. */
  ONNX_CHECK_OBJECTION = 1,
  /* libonnx cannot read the bytes, or failed otherwise; `message` says why. */
  ONNX_CHECK_FAILURE = 2,
};

/* The newest operator set and IR version that this libonnx knows. */
long long onnx_check_newest_opset(void);
long long onnx_check_newest_ir_version(void);

/* Runs libonnx's model checker over a serialized ModelProto. `message` receives a text to free(), or NULL. */
enum onnx_check_result onnx_check_model(const void *bytes, size_t count, char **message);

#ifdef __cplusplus
}
#endif
