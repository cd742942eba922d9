import COneDNN
import Glibc
import Synchronization

/// A call of oneDNN that failed: its name and status.
package struct OneDNNError: Error, CustomStringConvertible {
  package let description: String
}

/// The handful of oneDNN calls the evaluator needs, with Swift errors and lifetimes. Every thread of qcc runs oneDNN
/// on itself alone: batches are split over qcc's own threads, since OpenMP's barriers stall on busy machines.
package enum OneDNN {
  package static func check(_ status: dnnl_status_t, _ call: StaticString) throws(OneDNNError) {
    if status != dnnl_success {
      throw OneDNNError(description: "oneDNN: \(call) failed with status \(status.rawValue)")
    }
  }

  package struct Engine: @unchecked Sendable { package let handle: dnnl_engine_t }
  /// The processor, or nil when oneDNN cannot be set up.
  package static let engine: Engine? = {
    useOneThread()
    var engine: dnnl_engine_t?
    guard dnnl_engine_create(&engine, dnnl_cpu, 0) == dnnl_success, let engine else { return nil }
    return Engine(handle: engine)
  }()

  private typealias SetThreads = @convention(c) (Int32) -> Void
  private static let setThreads: SetThreads? = {
    // oneDNN loads OpenMP's runtime itself, so that its symbols are found in the process.
    guard let symbol = dlsym(nil, "omp_set_num_threads") else { return nil }
    return unsafeBitCast(symbol, to: SetThreads.self)
  }()
  /// Keeps oneDNN on the calling thread; every thread that calls oneDNN must have called this.
  static func useOneThread() { setThreads?(1) }

  package static func descriptor(
    _ shape: [Int], _ tag: dnnl_format_tag_t
  ) throws(OneDNNError) -> dnnl_memory_desc_t {
    var result = dnnl_memory_desc_t()
    let sizes = shape.map { Int64($0) }
    try check(
      dnnl_memory_desc_init_by_tag(&result, Int32(sizes.count), sizes, dnnl_f32, tag),
      "memory_desc_init_by_tag")
    return result
  }
  /// The same, in whatever format oneDNN likes.
  package static func any(_ descriptor: dnnl_memory_desc_t) -> dnnl_memory_desc_t {
    var any = descriptor
    any.format_kind = dnnl_format_kind_any
    return any
  }
  package static func descriptor(_ shape: [Int], strides: [Int]) throws(OneDNNError) -> dnnl_memory_desc_t {
    var result = dnnl_memory_desc_t()
    let sizes = shape.map { Int64($0) }, strides = strides.map { Int64($0) }
    try check(
      dnnl_memory_desc_init_by_strides(&result, Int32(sizes.count), sizes, dnnl_f32, strides),
      "memory_desc_init_by_strides")
    return result
  }
}

/// A queue of primitives; one per thread.
package final class OneDNNStream {
  package let handle: dnnl_stream_t
  package init() throws(OneDNNError) {
    guard let engine = OneDNN.engine else {
      throw OneDNNError(description: "oneDNN has no engine for this processor")
    }
    var stream: dnnl_stream_t?
    try OneDNN.check(
      dnnl_stream_create(&stream, engine.handle, dnnl_stream_default_flags.rawValue), "stream_create")
    guard let stream else { throw OneDNNError(description: "oneDNN made no stream") }
    handle = stream
  }
  deinit { dnnl_stream_destroy(handle) }
}

/// A prepared oneDNN computation; any thread may run it, with its own stream and scratch memory.
package final class OneDNNPrimitive: @unchecked Sendable {
  private let descriptor: dnnl_primitive_desc_t
  private let primitive: dnnl_primitive_t
  package let scratchBytes: Int

  /// - Parameters:
  ///   - operation: an operation descriptor of oneDNN, alive during the call.
  ///   - prefersDirect: takes a direct convolution in place of one by matrix products where oneDNN has both.
  package init(
    operation: UnsafeRawPointer, activation: (kind: dnnl_alg_kind_t, alpha: Float, beta: Float)? = nil,
    prefersDirect: Bool = false
  ) throws(OneDNNError) {
    guard let engine = OneDNN.engine else {
      throw OneDNNError(description: "oneDNN has no engine for this processor")
    }
    var attributes: dnnl_primitive_attr_t?
    try OneDNN.check(dnnl_primitive_attr_create(&attributes), "primitive_attr_create")
    defer { dnnl_primitive_attr_destroy(attributes) }
    try OneDNN.check(
      dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user),
      "primitive_attr_set_scratchpad_mode")
    if let activation {
      var operations: dnnl_post_ops_t?
      try OneDNN.check(dnnl_post_ops_create(&operations), "post_ops_create")
      defer { dnnl_post_ops_destroy(operations) }
      try OneDNN.check(
        dnnl_post_ops_append_eltwise(operations, 1, activation.kind, activation.alpha, activation.beta),
        "post_ops_append_eltwise")
      try OneDNN.check(
        dnnl_primitive_attr_set_post_ops(attributes, operations), "primitive_attr_set_post_ops")
    }
    let descriptor = try Self.descriptor(operation, attributes, engine, prefersDirect: prefersDirect)
    var primitive: dnnl_primitive_t?
    let status = dnnl_primitive_create(&primitive, descriptor)
    guard status == dnnl_success, let primitive else {
      dnnl_primitive_desc_destroy(descriptor)
      throw OneDNNError(description: "oneDNN: primitive_create failed with status \(status.rawValue)")
    }
    self.descriptor = descriptor
    self.primitive = primitive
    scratchBytes = dnnl_memory_desc_get_size(
      dnnl_primitive_desc_query_md(descriptor, dnnl_query_scratchpad_md, 0))
  }
  deinit {
    dnnl_primitive_destroy(primitive)
    dnnl_primitive_desc_destroy(descriptor)
  }

  /// oneDNN's first choice or, for `prefersDirect`, the one behind it.
  private static func descriptor(
    _ operation: UnsafeRawPointer, _ attributes: dnnl_primitive_attr_t?, _ engine: OneDNN.Engine,
    prefersDirect: Bool
  ) throws(OneDNNError) -> dnnl_primitive_desc_t {
    var iterator: dnnl_primitive_desc_iterator_t?
    try OneDNN.check(
      dnnl_primitive_desc_iterator_create(&iterator, operation, attributes, engine.handle, nil),
      "primitive_desc_iterator_create")
    defer { dnnl_primitive_desc_iterator_destroy(iterator) }
    guard let first = dnnl_primitive_desc_iterator_fetch(iterator) else {
      throw OneDNNError(description: "oneDNN made no primitive descriptor")
    }
    guard prefersDirect, implementation(first).hasPrefix("br"),
      dnnl_primitive_desc_iterator_next(iterator) == dnnl_success,
      let second = dnnl_primitive_desc_iterator_fetch(iterator)
    else { return first }
    let isDirect = implementation(second).hasPrefix("jit")
    dnnl_primitive_desc_destroy(isDirect ? first : second)
    return isDirect ? second : first
  }

  private static func implementation(_ descriptor: dnnl_primitive_desc_t) -> String {
    var name: UnsafePointer<CChar>?
    guard dnnl_primitive_desc_query(descriptor, dnnl_query_impl_info_str, 0, &name) == dnnl_success, let name
    else { return "" }
    return String(cString: name)
  }
  /// The implementation's name, such as `brgconv:avx512_core`.
  package var implementation: String { Self.implementation(descriptor) }
  /// oneDNN's plain loops, a thousand times slower than the rest.
  package var isReference: Bool { implementation.hasPrefix("ref") }

  /// The memory descriptor of one of the primitive's operands, as the primitive wants it.
  package func descriptor(_ argument: Int32) -> UnsafePointer<dnnl_memory_desc_t>? {
    switch argument {
    case DNNL_ARG_SRC_0: dnnl_primitive_desc_query_md(descriptor, dnnl_query_src_md, 0)
    case DNNL_ARG_WEIGHTS_0: dnnl_primitive_desc_query_md(descriptor, dnnl_query_weights_md, 0)
    case DNNL_ARG_BIAS: dnnl_primitive_desc_query_md(descriptor, dnnl_query_weights_md, 1)
    case DNNL_ARG_DST_0: dnnl_primitive_desc_query_md(descriptor, dnnl_query_dst_md, 0)
    case DNNL_ARG_DIFF_SRC_0: dnnl_primitive_desc_query_md(descriptor, dnnl_query_diff_src_md, 0)
    case DNNL_ARG_DIFF_WEIGHTS_0: dnnl_primitive_desc_query_md(descriptor, dnnl_query_diff_weights_md, 0)
    case DNNL_ARG_DIFF_BIAS: dnnl_primitive_desc_query_md(descriptor, dnnl_query_diff_weights_md, 1)
    case DNNL_ARG_DIFF_DST_0: dnnl_primitive_desc_query_md(descriptor, dnnl_query_diff_dst_md, 0)
    case DNNL_ARG_MEAN, DNNL_ARG_VARIANCE: statistics
    default: dnnl_primitive_desc_query_md(descriptor, dnnl_query_scratchpad_md, 0)
    }
  }
  /// That of a batch normalization's means and variances: results of training's forward pass, else operands.
  private var statistics: UnsafePointer<dnnl_memory_desc_t>? {
    let results = dnnl_primitive_desc_query_md(descriptor, dnnl_query_dst_md, 1)
    if let results, results.pointee.ndims > 0 { return results }
    return dnnl_primitive_desc_query_md(descriptor, dnnl_query_src_md, 1)
  }

  package func run(
    _ stream: OneDNNStream, _ operands: [(argument: Int32, memory: UnsafeMutableRawPointer)]
  ) throws(OneDNNError) {
    guard let engine = OneDNN.engine else { return }
    var arguments: [dnnl_exec_arg_t] = []
    defer { for argument in arguments { dnnl_memory_destroy(argument.memory) } }
    for operand in operands {
      var memory: dnnl_memory_t?
      try OneDNN.check(
        dnnl_memory_create(&memory, descriptor(operand.argument), engine.handle, operand.memory),
        "memory_create")
      arguments.append(dnnl_exec_arg_t(arg: operand.argument, memory: memory))
    }
    try OneDNN.check(
      dnnl_primitive_execute(primitive, stream.handle, Int32(arguments.count), arguments), "primitive_execute"
    )
    try OneDNN.check(dnnl_stream_wait(stream.handle), "stream_wait")
  }
}

/// A prepared copy from one memory format into another.
package final class OneDNNReorder: @unchecked Sendable {
  private let source: dnnl_memory_desc_t
  private let target: dnnl_memory_desc_t
  private let primitive: dnnl_primitive_t
  package let sourceBytes: Int
  package let targetBytes: Int

  package init(from source: dnnl_memory_desc_t, to target: dnnl_memory_desc_t) throws(OneDNNError) {
    guard let engine = OneDNN.engine else {
      throw OneDNNError(description: "oneDNN has no engine for this processor")
    }
    var from = source, to = target
    var descriptor: dnnl_primitive_desc_t?
    try OneDNN.check(
      dnnl_reorder_primitive_desc_create(&descriptor, &from, engine.handle, &to, engine.handle, nil),
      "reorder_primitive_desc_create")
    defer { dnnl_primitive_desc_destroy(descriptor) }
    var primitive: dnnl_primitive_t?
    try OneDNN.check(dnnl_primitive_create(&primitive, descriptor), "primitive_create")
    guard let primitive else { throw OneDNNError(description: "oneDNN made no reorder") }
    self.source = source
    self.target = target
    self.primitive = primitive
    sourceBytes = dnnl_memory_desc_get_size(&from)
    targetBytes = dnnl_memory_desc_get_size(&to)
  }
  deinit { dnnl_primitive_destroy(primitive) }

  package func run(
    _ stream: OneDNNStream, _ from: UnsafeRawPointer, _ to: UnsafeMutableRawPointer
  ) throws(OneDNNError) {
    guard let engine = OneDNN.engine else { return }
    var source = source, target = target
    var memories: [dnnl_memory_t?] = [nil, nil]
    defer { for memory in memories where memory != nil { dnnl_memory_destroy(memory) } }
    try OneDNN.check(
      dnnl_memory_create(&memories[0], &source, engine.handle, UnsafeMutableRawPointer(mutating: from)),
      "memory_create")
    try OneDNN.check(dnnl_memory_create(&memories[1], &target, engine.handle, to), "memory_create")
    let arguments = [
      dnnl_exec_arg_t(arg: DNNL_ARG_FROM, memory: memories[0]),
      dnnl_exec_arg_t(arg: DNNL_ARG_TO, memory: memories[1]),
    ]
    try OneDNN.check(dnnl_primitive_execute(primitive, stream.handle, 2, arguments), "primitive_execute")
    try OneDNN.check(dnnl_stream_wait(stream.handle), "stream_wait")
  }
}
