import IR
import Support
import Testing

@Suite struct VerifierTests {
  struct Case: Sendable, CustomTestStringConvertible {
    var rule: String
    var stage: Stage
    var body: String
    var testDescription: String { "\(rule): \(body.prefix(60))" }
  }
  static let broken = [
    Case(rule: "no-identity", stage: .canonical, body: "%y = identity(%x) : tensor<Nx3x4x4xf32>"),
    Case(rule: "no-shape-computation", stage: .canonical, body: "%y = shape(%x) : tensor<4xi64>"),
    Case(
      rule: "no-shape-computation", stage: .canonical,
      body: """
        %s = constant dense [0, -1] : tensor<2xi64>
        %y = reshape(%x, %s) : tensor<Nx48xf32>
        """),
    Case(
      rule: "folded-batch-norm", stage: .canonical,
      body: """
        %w = constant @w : tensor<2x3x1x1xf32>
        %p = constant dense [1, 2] : tensor<2xf32>
        %c = conv2d(%x, %w) : tensor<Nx2x4x4xf32>
        %y = batch-norm(%c, %p, %p, %p, %p) : tensor<Nx2x4x4xf32>
        """),
    Case(
      rule: "quantized-edges", stage: .elastic,
      body: """
        %w = constant @w : tensor<2x3x1x1xf32>
        %y = conv2d(%x, %w) : tensor<Nx2x4x4xf32>
        """),
    Case(
      rule: "sites", stage: .elastic,
      body: """
        %a = quantize(%x) {site = a} : tensor<Nx3x4x4xf32>
        %y = quantize(%a) {site = a} : tensor<Nx3x4x4xf32>
        """),
    Case(
      rule: "one-form", stage: .assigned,
      body: "%y = quantize(%x) {forms = [8:tensor:symmetric*, 4:tensor:symmetric]} : tensor<Nx3x4x4xf32>"),
    Case(
      rule: "quantizer-parameters", stage: .assigned,
      body: """
        %s = constant dense [inf] : tensor<1xf32>
        %z = constant dense [0] : tensor<1xi32>
        %y = quantize(%x, %s, %z) : tensor<Nx3x4x4xf32>
        """),
    Case(
      rule: "quantizer-parameters", stage: .elastic,
      body: """
        %s = constant dense [1] : tensor<1xf32>
        %z = constant dense [16] : tensor<1xi32>
        %y = quantize(%x, %s, %z) {forms = [4:tensor:asymmetric*]} : tensor<Nx3x4x4xf32>
        """),
    Case(rule: "no-fake-quantizers", stage: .lowered, body: "%y = quantize(%x) : tensor<Nx3x4x4xf32>"),
    Case(rule: "float-tail", stage: .lowered, body: "%y = relu(%x) : tensor<Nx3x4x4xf32>"),
    Case(
      rule: "float-tail", stage: .lowered,
      body: """
        %q = quantize-linear(%x) : tensor<Nx3x4x4xu8<1:0>>
        %d = dequantize-linear(%q) : tensor<Nx3x4x4xf32>
        %e = exp(%d) : tensor<Nx3x4x4xf32>
        %y = quantize-linear(%e) : tensor<Nx3x4x4xu8<1:0>>
        """),
    Case(
      rule: "channel-parameters", stage: .lowered, body: convolution(bias: 0, weight: 1, bits: 8, shift: 63)),
    Case(
      rule: "accumulator", stage: .lowered,
      body: convolution(bias: 2_147_483_647, weight: 1, bits: 8, shift: 40)),
    Case(
      rule: "accumulator", stage: .lowered,
      body: convolution(bias: -134_217_000, weight: 7, bits: 4, shift: 40)),
    Case(
      rule: "borders", stage: .lowered,
      body: "%y = quantize-linear(%x) : tensor<Nx3x4x4xu8<1:0>, nhwc4 border [1, 0, 256, 1]>"),
    Case(
      rule: "borders", stage: .lowered,
      body: """
        %q = quantize-linear(%x) : tensor<Nx3x4x4xu8<1:0>, nhwc4>
        %y = transpose(%q) {permutation = [0, 2, 1, 3]} : tensor<Nx4x3x4xu8<1:0>, nhwc4 border [1, 1, 1, 1]>
        """),
    Case(
      rule: "constants", stage: .imported,
      body: "%y = constant dense [8] : tensor<1xs4>"),
  ]
  private static func convolution(bias: Int, weight: Int, bits: Int, shift: Int) -> String {
    """
    %q = quantize-linear(%x) : tensor<Nx3x4x4xu8<1:0>>
    %w = constant dense [\(weight), \(weight), \(weight)] : tensor<1x3x1x1xs\(bits)>
    %b = constant dense [\(bias)] : tensor<1xi32>
    %m = constant dense [1] : tensor<1xi32>
    %n = constant dense [\(shift)] : tensor<1xi32>
    %y = integer-conv2d(%q, %w, %b, %m, %n) {weight-bits = \(bits)} : tensor<Nx1x4x4xu8<1:0>>
    """
  }
  private static func graph(_ stage: Stage, _ body: String) throws -> Graph {
    try Graph(
      text: "qir 1\ngraph @g stage \(stage) (%x: tensor<Nx3x4x4xf32>) {\n\(body)\n  return %y\n}\n",
      weights: .seeded)
  }

  @Test(arguments: broken)
  func aBrokenRuleIsNamed(_ example: Case) throws {
    let graph = try VerifierTests.graph(example.stage, example.body)
    let found = graph.verificationDiagnostics().map(\.message)
    #expect(found.first?.hasSuffix("[\(example.rule)]") == true, "\(found)")
    #expect(Graph.verificationRules.contains { $0.name == example.rule })
  }

  @Test func aSoundGraphOfEveryStagePasses() throws {
    let quantized = """
      %xq = quantize(%x) {site = x} : tensor<Nx3x4x4xf32>
      %p = max-pool(%xq) : tensor<Nx3x4x4xf32>
      %w = constant @w : tensor<2x3x1x1xf32>
      %wq = quantize(%w) {site = w, role = weight} : tensor<2x3x1x1xf32>
      %y = conv2d(%p, %wq) : tensor<Nx2x4x4xf32>
      """
    for (stage, body) in [
      (Stage.imported, "%y = identity(%x) : tensor<Nx3x4x4xf32>"),
      (.canonical, "%y = relu(%x) : tensor<Nx3x4x4xf32>"),
      (.elastic, quantized), (.assigned, quantized),
      (.lowered, VerifierTests.convolution(bias: -9, weight: -7, bits: 4, shift: 40)),
    ] {
      try VerifierTests.graph(stage, body).verify()
    }
  }

  @Test(arguments: UInt64(0)..<10)
  func randomGraphsAreStructurallySound(seed: UInt64) throws {
    var graph = RandomGraph.make(seed: seed)
    graph.stage = .imported
    try graph.verify()
  }

  @Test func staleTypesAndBrokenNamesAreFound() throws {
    var graph = try VerifierTests.graph(.imported, "%y = relu(%x) : tensor<Nx3x4x4xf32>")
    graph.setInputType(graph.inputs[0], TensorType([1, 3, 8, 8], .f32))
    #expect(graph.verificationDiagnostics().map(\.message).first?.hasSuffix("[types]") == true)
  }
}
