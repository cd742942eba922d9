import Datasets
import Foundation
import IR
import Numerics
import Support

@testable import Trainer

/// Two convolutions with normalizations, a pooling and a product, for images of two classes of bars.
struct SmallNetwork {
  let graph: Graph
  let supernet: Supernet

  /// - Parameter elastic: quantizers of 8, 4 and 2 bits; else float.
  init(elastic: Bool) throws {
    var graph = Graph(stage: .elastic), random = SeededRandom(seed: 11)
    graph.setMetadata("batch-norm", "separate")
    func constant(_ name: String, _ shape: [Int], _ size: Float) -> ValueID {
      let count = shape.reduce(1, *)
      return graph.addConstant(
        Constant(name, shape, (0..<count).map { _ in (Float(random.unit()) * 2 - 1) * size }))
    }
    func uniform(_ name: String, _ count: Int, _ value: Float) -> ValueID {
      graph.addConstant(Constant(name, [count], [Float](repeating: value, count: count)))
    }
    func append(_ op: Op, _ operands: [ValueID], _ name: String) throws -> ValueID {
      let id = try graph.append(op, operands, name: name)
      return graph[id].results[0]
    }
    func quantized(_ value: ValueID, _ role: Quantize.Role, _ site: String, range: Float) throws -> ValueID {
      guard elastic else { return value }
      var quantizer = Quantize(), operands = [value]
      quantizer.site = site
      quantizer.role = role
      quantizer.axis = role == .weight ? 0 : 1
      var forms: [QuantizationForm] = []
      for bits in [8, 4, 2] {
        for granularity in role == .weight ? [Granularity.channel, .tensor] : [.tensor] {
          for symmetry in role == .weight ? [Symmetry.symmetric] : [.asymmetric, .symmetric] {
            forms.append(QuantizationForm(.bits(bits), granularity, symmetry))
          }
        }
      }
      quantizer.forms = FormSet(forms)
      let channels = graph[value].type.shape.size(0) ?? 1
      for form in forms {
        let low: Float = role == .weight ? -range : 0
        let p = AffineParameters(covering: low, range, form: form, role: role.numerics)
        let count = form.granularity == .channel ? channels : 1
        operands.append(uniform("\(site).\(form.text).scale", count, p.scale))
        operands.append(
          graph.addConstant(
            Constant("\(site).\(form.text).zero", [count], [Int32](repeating: p.zeroPoint, count: count))))
      }
      return try append(.quantize(quantizer), operands, "\(site).q")
    }
    let x = graph.addInput("x", TensorType(Shape([.batch, .known(1), .known(8), .known(8)]), .f32))
    var value = try quantized(x, .activation, "x", range: 1), inputs = 1
    for layer in 1...2 {
      var convolution = Conv2D()
      convolution.pads = [1, 1, 1, 1]
      let weights = try quantized(
        constant("w\(layer)", [8, inputs, 3, 3], 0.4), .weight, "c\(layer).weight", range: 0.4)
      let sums = try append(.conv2d(convolution), [value, weights], "c\(layer)")
      let normalized = try append(
        .batchNorm(BatchNorm()),
        [
          sums, uniform("gain\(layer)", 8, 1), uniform("shift\(layer)", 8, 0.1),
          uniform("mean\(layer)", 8, 0),
          uniform("variance\(layer)", 8, 1),
        ], "n\(layer)")
      let positive = try append(.unary(Unary(.relu)), [normalized], "r\(layer)")
      value = try quantized(positive, .activation, "r\(layer)", range: 3)
      inputs = 8
    }
    let pooled = try append(.globalAveragePool(GlobalAveragePool()), [value], "pooled")
    let flat = try append(.flatten(Flatten()), [pooled], "flat")
    var gemm = Gemm()
    gemm.transposeB = true
    let last = try quantized(constant("w3", [2, 8], 0.5), .weight, "g.weight", range: 0.5)
    let features = try quantized(flat, .activation, "flat", range: 3)
    graph.addOutput(try append(.gemm(gemm), [features, last, uniform("b3", 2, 0)], "logits"))
    self.graph = graph
    supernet = Supernet(graph)
  }

  /// Images of a horizontal or a vertical bar in noise, as `.npz` with labels.
  static func samples(_ count: Int, seed: UInt64) throws -> TrainingSamples {
    var random = SeededRandom(seed: seed), images: [Float] = [], labels: [Int64] = []
    for _ in 0..<count {
      let label = Int(random.below(2)), place = Int(random.below(8))
      for y in 0..<8 {
        for x in 0..<8 {
          let isBar = (label == 0 ? y : x) == place
          images.append(Float(random.unit()) * 0.5 + (isBar ? 0.5 : 0))
        }
      }
      labels.append(Int64(label))
    }
    let folder = FileManager.default.temporaryDirectory.appending(path: "qcc-trainer-\(UUID().uuidString)")
      .path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let path = "\(folder)/x.npy", labelPath = "\(folder)/y.npy"
    try Data(npy("<f4", [count, 1, 8, 8], images)).write(to: URL(filePath: path))
    try Data(npy("<i8", [count], labels)).write(to: URL(filePath: labelPath))
    let data = try PreparedDataset(
      Dataset(path: path, labels: labelPath), inputShape: [nil, 1, 8, 8], preprocessing: Preprocessing())
    return try TrainingSamples(data, shape: [1, 8, 8], classes: 2, threads: 2) { _, _ in }
  }

  private static func npy<T: BitwiseCopyable>(_ type: String, _ shape: [Int], _ values: [T]) -> [UInt8] {
    let sizes = shape.map(String.init).joined(separator: ", ") + (shape.count == 1 ? "," : "")
    var header = "{'descr': '\(type)', 'fortran_order': False, 'shape': (\(sizes)), }"
    while (10 + header.utf8.count + 1) % 64 != 0 { header += " " }
    header += "\n"
    let count = header.utf8.count
    return [0x93] + Array("NUMPY".utf8) + [1, 0, UInt8(count & 255), UInt8(count >> 8)] + Array(header.utf8)
      + values.withUnsafeBytes { Array($0) }
  }
}
