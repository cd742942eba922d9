import COnnxProto
import CProtobufC
import Glibc
import IR
import Support

/// Turns libprotobuf-c's structures into `OnnxModel`. Tensor contents are taken over block by block, not copied.
/// Recursion is bounded: the pre-scan has limited nesting.
struct OnnxConversion {
  var external: ExternalData
  let location: String
  private var usesExternalData = false

  init(external: ExternalData) {
    self.external = external
    location = external.location
  }

  mutating func model(_ proto: UnsafeMutablePointer<Onnx__ModelProto>) throws(CompilerError) -> OnnxModel {
    var model = OnnxModel()
    model.irVersion = proto.pointee.has_ir_version != 0 ? Int(proto.pointee.ir_version) : 0
    for set in items(proto.pointee.opset_import, proto.pointee.n_opset_import) {
      let domain = canonicalDomain(text(set.pointee.domain))
      model.operatorSets.append(.init(domain: domain, version: Int(set.pointee.version)))
    }
    model.producer = [text(proto.pointee.producer_name), text(proto.pointee.producer_version)]
      .filter { !$0.isEmpty }.joined(separator: " ")
    guard let graphProto = proto.pointee.graph else {
      throw .malformed("not an ONNX model: it has no graph", at: location)
    }
    model.graph = try graph(graphProto)
    for function in items(proto.pointee.functions, proto.pointee.n_functions) {
      model.functions.append(try self.function(function))
    }
    model.hasExternalData = usesExternalData
    return model
  }

  private mutating func graph(
    _ proto: UnsafeMutablePointer<Onnx__GraphProto>
  ) throws(CompilerError) -> OnnxGraph {
    var graph = OnnxGraph()
    graph.name = text(proto.pointee.name)
    graph.nodes = try nodes(proto.pointee.node, proto.pointee.n_node)
    for tensor in items(proto.pointee.initializer, proto.pointee.n_initializer) {
      graph.initializers.append(try self.tensor(tensor))
    }
    graph.sparseInitializerCount = proto.pointee.n_sparse_initializer
    graph.inputs = items(proto.pointee.input, proto.pointee.n_input).map(valueInfo)
    graph.outputs = items(proto.pointee.output, proto.pointee.n_output).map(valueInfo)
    return graph
  }

  private mutating func nodes(
    _ start: UnsafeMutablePointer<UnsafeMutablePointer<Onnx__NodeProto>?>?, _ count: Int
  ) throws(CompilerError) -> [OnnxNode] {
    var nodes: [OnnxNode] = []
    for proto in items(start, count) {
      var node = OnnxNode()
      node.name = text(proto.pointee.name)
      node.operatorName = text(proto.pointee.op_type)
      node.domain = canonicalDomain(text(proto.pointee.domain))
      node.inputs = texts(proto.pointee.input, proto.pointee.n_input)
      node.outputs = texts(proto.pointee.output, proto.pointee.n_output)
      for attribute in items(proto.pointee.attribute, proto.pointee.n_attribute) {
        node.attributes.append(try self.attribute(attribute))
      }
      nodes.append(node)
    }
    return nodes
  }

  private mutating func function(
    _ proto: UnsafeMutablePointer<Onnx__FunctionProto>
  ) throws(CompilerError) -> OnnxFunction {
    OnnxFunction(
      name: text(proto.pointee.name), domain: canonicalDomain(text(proto.pointee.domain)),
      inputs: texts(proto.pointee.input, proto.pointee.n_input),
      outputs: texts(proto.pointee.output, proto.pointee.n_output),
      attributes: texts(proto.pointee.attribute, proto.pointee.n_attribute),
      nodes: try nodes(proto.pointee.node, proto.pointee.n_node))
  }

  private func valueInfo(_ proto: UnsafeMutablePointer<Onnx__ValueInfoProto>) -> OnnxValueInfo {
    var info = OnnxValueInfo(name: text(proto.pointee.name), type: nil, dimensions: nil)
    guard let type = proto.pointee.type, type.pointee.value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE,
      let tensor = type.pointee.tensor_type
    else { return info }
    info.type = OnnxDataType(rawValue: tensor.pointee.elem_type)
    guard let shape = tensor.pointee.shape else { return info }
    info.dimensions = items(shape.pointee.dim, shape.pointee.n_dim).map { dimension in
      switch dimension.pointee.value_case {
      case ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE:
        // Older exporters write -1 for an unknown size, some 0.
        dimension.pointee.dim_value > 0 ? .fixed(Int(dimension.pointee.dim_value)) : .unknown
      case ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM: .symbol(text(dimension.pointee.dim_param))
      default: .unknown
      }
    }
    return info
  }

  // MARK: - Attributes

  private mutating func attribute(
    _ proto: UnsafeMutablePointer<Onnx__AttributeProto>
  ) throws(CompilerError) -> OnnxAttribute {
    OnnxAttribute(name: text(proto.pointee.name), value: try value(proto))
  }

  private mutating func value(
    _ proto: UnsafeMutablePointer<Onnx__AttributeProto>
  ) throws(CompilerError) -> OnnxAttribute.Value {
    let attribute = proto.pointee, reference = text(attribute.ref_attr_name)
    if !reference.isEmpty { return .reference(reference) }
    switch try kind(attribute) {
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT: return .float(attribute.f)
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT: return .int(Int(attribute.i))
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING: return .string(try string(attribute.s, proto))
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR:
      guard let tensor = attribute.t else { throw fault(proto, "has no tensor") }
      return .tensor(try self.tensor(tensor))
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH:
      guard let graph = attribute.g else { throw fault(proto, "has no graph") }
      return .graph(try self.graph(graph))
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS:
      return .floats(Array(UnsafeBufferPointer(start: attribute.floats, count: attribute.n_floats)))
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS:
      return .ints(UnsafeBufferPointer(start: attribute.ints, count: attribute.n_ints).map { Int($0) })
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRINGS:
      var strings: [String] = []
      for bytes in UnsafeBufferPointer(start: attribute.strings, count: attribute.n_strings) {
        strings.append(try string(bytes, proto))
      }
      return .strings(strings)
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSORS:
      var tensors: [OnnxTensor] = []
      for tensor in items(attribute.tensors, attribute.n_tensors) { tensors.append(try self.tensor(tensor)) }
      return .tensors(tensors)
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPHS:
      var graphs: [OnnxGraph] = []
      for graph in items(attribute.graphs, attribute.n_graphs) { graphs.append(try self.graph(graph)) }
      return .graphs(graphs)
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__SPARSE_TENSOR,
      ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__SPARSE_TENSORS:
      return .other("sparse tensor")
    default: return .other("type")
    }
  }

  /// The declared type, or, in files of IR version 1 that declare none, the one that is filled in.
  private func kind(
    _ attribute: Onnx__AttributeProto
  ) throws(CompilerError) -> Onnx__AttributeProto__AttributeType {
    if attribute.has_type != 0, attribute.type != ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__UNDEFINED {
      return attribute.type
    }
    if attribute.has_f != 0 { return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT }
    if attribute.has_i != 0 { return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT }
    if attribute.has_s != 0 { return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING }
    if attribute.t != nil { return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR }
    if attribute.g != nil { return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH }
    if attribute.n_floats > 0 { return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS }
    if attribute.n_strings > 0 { return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRINGS }
    return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS
  }

  private func string(
    _ bytes: ProtobufCBinaryData, _ owner: UnsafeMutablePointer<Onnx__AttributeProto>
  ) throws(CompilerError) -> String {
    guard
      let string = String(validating: UnsafeBufferPointer(start: bytes.data, count: bytes.len), as: UTF8.self)
    else {
      throw fault(owner, "is not UTF-8")
    }
    return string
  }

  private func fault(
    _ attribute: UnsafeMutablePointer<Onnx__AttributeProto>, _ message: String
  ) -> CompilerError {
    .malformed("attribute '\(text(attribute.pointee.name))' \(message)", at: location)
  }

  // MARK: - Tensors

  /// Numbers in more elements than this have no place in memory.
  private static let maximumElementCount = 1 << 40

  mutating func tensor(_ proto: UnsafeMutablePointer<Onnx__TensorProto>) throws(CompilerError) -> OnnxTensor {
    let name = text(proto.pointee.name)
    let location = location
    func fault(_ message: String) -> CompilerError {
      .malformed("tensor '\(name)': \(message)", at: location)
    }
    let code = proto.pointee.has_data_type != 0 ? proto.pointee.data_type : 0
    guard let type = OnnxDataType(rawValue: code), type != .undefined else {
      throw fault("unknown data type \(code)")
    }
    guard proto.pointee.segment == nil else { throw fault("segmented tensors are not supported") }
    let dimensions = UnsafeBufferPointer(start: proto.pointee.dims, count: proto.pointee.n_dims).map {
      Int($0)
    }
    guard let count = checkedProduct(dimensions), count <= Self.maximumElementCount else {
      throw fault("shape \(dimensions) is negative or too large")
    }
    var result = OnnxTensor(
      name: name, dimensions: dimensions, type: type, storage: TensorStorage(copying: [UInt8]()),
      elementCount: count)
    if type == .string { return result }
    guard let byteCount = type.byteCount(count) else { throw fault("shape \(dimensions) is too large") }

    if proto.pointee.has_data_location != 0,
      proto.pointee.data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL
    {
      usesExternalData = true
      let entries = items(proto.pointee.external_data, proto.pointee.n_external_data).map {
        (key: text($0.pointee.key), value: text($0.pointee.value))
      }
      result.storage = try external.storage(for: name, entries: entries, byteCount: byteCount)
    } else if proto.pointee.has_raw_data != 0 {
      let raw = proto.pointee.raw_data
      guard raw.len == byteCount else {
        throw fault("\(raw.len) bytes of data, but shape \(dimensions) of \(type.name) needs \(byteCount)")
      }
      result.storage = takeOver(raw.data, count: raw.len)
      proto.pointee.raw_data = ProtobufCBinaryData(len: 0, data: nil)
      proto.pointee.has_raw_data = 0
    } else {
      guard let storage = typedData(proto, type, count: count) else {
        throw fault("its \(type.name) data does not have the \(count) elements of shape \(dimensions)")
      }
      result.storage = storage
    }
    return result
  }

  /// The list field that ONNX assigns to `type`, as raw bytes; nil when its length is not that of `count` elements.
  private func typedData(
    _ proto: UnsafeMutablePointer<Onnx__TensorProto>, _ type: OnnxDataType, count: Int
  ) -> TensorStorage? {
    /// Takes over a list whose entries are the elements (`perElement` entries each).
    func whole<T>(
      _ start: WritableKeyPath<Onnx__TensorProto, UnsafeMutablePointer<T>?>,
      _ length: WritableKeyPath<Onnx__TensorProto, Int>,
      perElement: Int = 1
    ) -> TensorStorage? {
      let entries = proto.pointee[keyPath: length]
      guard entries == count * perElement else { return nil }
      let storage = takeOver(proto.pointee[keyPath: start], count: entries * MemoryLayout<T>.stride)
      proto.pointee[keyPath: start] = nil
      proto.pointee[keyPath: length] = 0
      return storage
    }
    /// Narrows every entry of `int32_data` to an element's, or a packed byte's, width.
    func narrowed<T: FixedWidthInteger & BitwiseCopyable>(_: T.Type, entries: Int) -> TensorStorage? {
      guard proto.pointee.n_int32_data == entries else { return nil }
      return TensorStorage(
        copying: UnsafeBufferPointer(start: proto.pointee.int32_data, count: entries).map {
          T(truncatingIfNeeded: $0)
        })
    }
    switch type {
    case .float: return whole(\.float_data, \.n_float_data)
    case .complex64: return whole(\.float_data, \.n_float_data, perElement: 2)
    case .double: return whole(\.double_data, \.n_double_data)
    case .complex128: return whole(\.double_data, \.n_double_data, perElement: 2)
    case .int64: return whole(\.int64_data, \.n_int64_data)
    case .uint64: return whole(\.uint64_data, \.n_uint64_data)
    case .uint32:
      guard proto.pointee.n_uint64_data == count else { return nil }
      return TensorStorage(
        copying: UnsafeBufferPointer(start: proto.pointee.uint64_data, count: count).map {
          UInt32(truncatingIfNeeded: $0)
        })
    case .int32: return whole(\.int32_data, \.n_int32_data)
    case .uint16, .int16, .float16, .bfloat16: return narrowed(UInt16.self, entries: count)
    case .uint8, .int8, .bool, .float8E4M3FN, .float8E4M3FNUZ, .float8E5M2, .float8E5M2FNUZ, .float8E8M0:
      return narrowed(UInt8.self, entries: count)
    case .uint4, .int4, .float4E2M1, .uint2, .int2, .float6E2M3, .float6E3M2:
      return type.byteCount(count).flatMap { narrowed(UInt8.self, entries: $0) }
    case .undefined, .string: return nil
    }
  }

  /// Makes a block of libprotobuf-c's, which is malloc's, the tensor's own.
  private func takeOver(_ block: UnsafeMutableRawPointer?, count: Int) -> TensorStorage {
    TensorStorage(
      bytes: UnsafeRawBufferPointer(start: block, count: block == nil ? 0 : count), release: { free(block) })
  }

  // MARK: - C lists and texts

  private func items<T>(
    _ start: UnsafeMutablePointer<UnsafeMutablePointer<T>?>?, _ count: Int
  ) -> [UnsafeMutablePointer<T>] {
    UnsafeBufferPointer(start: start, count: start == nil ? 0 : count).compactMap { $0 }
  }
  /// The pre-scan has found all texts to be UTF-8.
  private func text(_ pointer: UnsafePointer<CChar>?) -> String { pointer.map { String(cString: $0) } ?? "" }
  private func texts(_ start: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?, _ count: Int) -> [String] {
    UnsafeBufferPointer(start: start, count: start == nil ? 0 : count).map { text($0) }
  }
  private func canonicalDomain(_ domain: String) -> String { domain == "ai.onnx" ? "" : domain }
}
