import IR

/// A parsed ONNX model: what the file says, checked for well-formed sizes and texts, not yet interpreted.
struct OnnxModel: Sendable {
  struct OperatorSet: Hashable, Sendable {
    /// "" for ONNX's own operators (`ai.onnx` is spelled so too).
    var domain: String
    var version: Int
  }
  var irVersion = 0
  var operatorSets: [OperatorSet] = []
  var producer = ""
  var graph = OnnxGraph()
  var functions: [OnnxFunction] = []
  /// Whether some tensor lies in another file.
  var hasExternalData = false
}

struct OnnxGraph: Sendable {
  var name = ""
  var nodes: [OnnxNode] = []
  var initializers: [OnnxTensor] = []
  var sparseInitializerCount = 0
  var inputs: [OnnxValueInfo] = []
  var outputs: [OnnxValueInfo] = []
}

struct OnnxNode: Sendable {
  var name = ""
  var operatorName = ""
  var domain = ""
  /// An empty name stands for an omitted optional input or output.
  var inputs: [String] = []
  var outputs: [String] = []
  var attributes: [OnnxAttribute] = []
}

struct OnnxAttribute: Sendable {
  indirect enum Value: Sendable {
    case float(Float), int(Int), string(String), tensor(OnnxTensor), graph(OnnxGraph)
    case floats([Float]), ints([Int]), strings([String]), tensors([OnnxTensor]), graphs([OnnxGraph])
    /// In a function body: the value of the calling node's attribute of this name.
    case reference(String)
    /// A kind that no imported operator takes (sparse tensors, types).
    case other(String)
  }
  var name: String
  var value: Value
}

struct OnnxTensor: Sendable {
  var name: String
  var dimensions: [Int]
  var type: OnnxDataType
  /// The elements as in `raw_data`: row-major, little-endian, sub-byte elements packed. Empty for strings.
  var storage: TensorStorage
  var elementCount: Int
}

struct OnnxValueInfo: Sendable {
  enum Dimension: Hashable, Sendable { case fixed(Int), symbol(String), unknown }
  var name: String
  /// Nil: not a tensor, or of an element type this version does not know.
  var type: OnnxDataType?
  /// Nil: of unknown rank.
  var dimensions: [Dimension]?
}

/// A function that the model itself defines, called like an operator.
struct OnnxFunction: Sendable {
  var name: String
  var domain: String
  var inputs: [String]
  var outputs: [String]
  var attributes: [String]
  var nodes: [OnnxNode]
}
