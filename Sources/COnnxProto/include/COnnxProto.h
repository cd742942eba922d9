#pragma once
#include <malloc.h>

#include "onnx.pb-c.h"

/* Swift sees a C constant of a type with pointers as unsafe shared state; a function it may call. */
static inline const ProtobufCMessageDescriptor *onnx_model_descriptor(void) {
  return &onnx__model_proto__descriptor;
}
static inline const ProtobufCMessageDescriptor *onnx_tensor_descriptor(void) {
  return &onnx__tensor_proto__descriptor;
}

/* The bytes that malloc set aside for a block; Swift's Glibc module leaves malloc.h out. */
static inline size_t onnx_block_size(void *block) { return malloc_usable_size(block); }
