import Foundation
import Testing

/// Networks may end in anything that has an integer form: every such program compiles and has the reference's bits.
@Suite("Endings")
struct EndingsTests {
  /// What stands behind `%c`, a convolution's result of 4 channels on 6 x 6 pixels, or `%f`, its mean as a vector.
  /// Results are called `%y`.
  private static let endings = [
    "convolution and relu": "%y = relu(%c) : tensor<Nx4x6x6xf32>",
    "convolution and clip": "%y = clip(%c) {minimum = -0.25, maximum = 0.5} : tensor<Nx4x6x6xf32>",
    "convolution and sigmoid": "%y = sigmoid(%c) : tensor<Nx4x6x6xf32>",
    "sum and relu": """
    %d = add(%c, %c) : tensor<Nx4x6x6xf32>
      %y = relu(%d) : tensor<Nx4x6x6xf32>
    """,
    "maximum pool and relu": """
    %m = max-pool(%c) {kernel = [2, 2], strides = [2, 2]} : tensor<Nx4x3x3xf32>
      %y = relu(%m) : tensor<Nx4x3x3xf32>
    """,
    "mean and relu": "%y = relu(%f) : tensor<Nx4xf32>",
    "mean and hard-swish": "%y = hard-swish(%f) : tensor<Nx4xf32>",
    "product": "%y = gemm(%f, %v, %a) {transpose-b = true} : tensor<Nx3xf32>",
    "product and relu": """
    %p = gemm(%f, %v, %a) {transpose-b = true} : tensor<Nx3xf32>
      %y = relu(%p) : tensor<Nx3xf32>
    """,
    "product and clip": """
    %p = gemm(%f, %v, %a) {transpose-b = true} : tensor<Nx3xf32>
      %y = clip(%p) {minimum = 0, maximum = 6} : tensor<Nx3xf32>
    """,
    "product, relu and softmax": """
    %p = gemm(%f, %v, %a) {transpose-b = true} : tensor<Nx3xf32>
      %r = relu(%p) : tensor<Nx3xf32>
      %y = softmax(%r) : tensor<Nx3xf32>
    """,
    "product, relu and reshape": """
    %p = gemm(%f, %v, %a) {transpose-b = true} : tensor<Nx3xf32>
      %r = relu(%p) : tensor<Nx3xf32>
      %y = unsqueeze(%r) {axes = [2]} : tensor<Nx3x1xf32>
    """,
    "product and sigmoid": """
    %p = gemm(%f, %v, %a) {transpose-b = true} : tensor<Nx3xf32>
      %y = sigmoid(%p) : tensor<Nx3xf32>
    """,
    "product and hard-swish": """
    %p = gemm(%f, %v, %a) {transpose-b = true} : tensor<Nx3xf32>
      %y = hard-swish(%p) : tensor<Nx3xf32>
    """,
    "product and tanh of relu": """
    %p = gemm(%f, %v, %a) {transpose-b = true} : tensor<Nx3xf32>
      %r = relu(%p) : tensor<Nx3xf32>
      %y = tanh(%r) : tensor<Nx3xf32>
    """,
  ]

  @Test(arguments: endings.keys.sorted())
  func compileToTheBitsOfTheReference(name: String) throws {
    let ending = try #require(Self.endings[name])
    let text = """
      qir 1
      graph @net stage imported (%x: tensor<Nx4x6x6xf32>) {
        %w = constant dense [0.5, -0.25, 1, 0.125, -1, 0.75, 0.5, 0.25, 0.5, 0.5, -0.5, 1, 0.125, -1, 1, 0.5] : tensor<4x4x1x1xf32>
        %b = constant dense [0.5, -0.25, 0.125, 0] : tensor<4xf32>
        %v = constant dense [1, 0.5, -1, 0.25, 0.5, -0.75, 1, 1, -0.5, 0.5, -1, -1] : tensor<3x4xf32>
        %a = constant dense [0, 1, -1] : tensor<3xf32>
        %c = conv2d(%x, %w, %b) : tensor<Nx4x6x6xf32>
        %g = global-average-pool(%c) : tensor<Nx4x1x1xf32>
        %f = flatten(%g) : tensor<Nx4xf32>
        \(ending)
        return %y
      }
      """
    for target in ["x86-int8", "x86-int4"] {
      try withTemporaryFolder { folder in
        let model = "\(folder)/net.qir", program = "\(folder)/net.qpk", graph = "\(folder)/lowered.qir"
        try text.write(toFile: model, atomically: true, encoding: .utf8)
        try QCC.expectSuccess([model, "--target", target, "-o", program, "--save-graph", graph])
        let proof = try QCC.expectSuccess(["verify", program, "--graph", graph, "--samples", "20"]).text
        #expect(proof.contains("every bit equal to the reference"))
      }
    }
  }
}
