// libonnx reports by C++ exceptions, which must not cross into Swift: every entry catches all of them.
#include "onnx_check.h"

#include <climits>
#include <cstring>
#include <exception>

#include <onnx/checker.h>
#include <onnx/defs/schema.h>
#include <onnx/onnx_pb.h>

extern "C" long long onnx_check_newest_opset(void) {
  try {
    const auto &versions = onnx::OpSchemaRegistry::DomainToVersionRange::Instance().Map();
    const auto found = versions.find("");
    return found == versions.end() ? 0 : found->second.second;
  } catch (...) {
    return 0;
  }
}

extern "C" long long onnx_check_newest_ir_version(void) { return onnx::Version::IR_VERSION; }

extern "C" enum onnx_check_result onnx_check_model(const void *bytes, size_t count, char **message) {
  *message = nullptr;
  try {
    onnx::ModelProto model;
    if (count > INT_MAX || !model.ParseFromArray(bytes, static_cast<int>(count))) {
      *message = strdup("libonnx cannot parse the model");
      return ONNX_CHECK_FAILURE;
    }
    onnx::checker::check_model(model);
    return ONNX_CHECK_OK;
  } catch (const onnx::checker::ValidationError &error) {
    *message = strdup(error.what());
    return ONNX_CHECK_OBJECTION;
  } catch (const std::exception &error) {
    *message = strdup(error.what());
    return ONNX_CHECK_FAILURE;
  } catch (...) {
    *message = strdup("unknown failure");
    return ONNX_CHECK_FAILURE;
  }
}
