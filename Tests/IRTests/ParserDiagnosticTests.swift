import IR
import Support
import Testing

@Suite struct ParserDiagnosticTests {
  struct Case: Sendable, CustomTestStringConvertible {
    /// Lines of the body of a graph with the input %x: tensor<Nx4xf32>.
    var body: String
    var message: String
    var testDescription: String { message }
  }
  static let bodies = [
    Case(
      body: "%y = relu(%z) : tensor<Nx4xf32>", message: "3:13: error: '%z' is not defined before this line"),
    Case(body: "%y = relux(%x) : tensor<Nx4xf32>", message: "3:8: error: unknown operation 'relux'"),
    Case(body: "%y = relu(%x, %x) : tensor<Nx4xf32>", message: "3:8: error: relu takes 1 operands, has 2"),
    Case(
      body: "%y = relu(%x) : tensor<Nx5xf32>",
      message: "3:19: error: the result is tensor<Nx4xf32>, not tensor<Nx5xf32>"),
    Case(
      body: "%y = relu(%x) tensor<Nx4xf32>", message: "3:17: error: expected ':', found 'tensor<Nx4xf32>'"),
    Case(body: "%y = relu %x : tensor<Nx4xf32>", message: "3:13: error: expected '(', found '%x'"),
    Case(body: "%x = relu(%x) : tensor<Nx4xf32>", message: "3:3: error: '%x' is defined twice"),
    Case(body: "%y, %z = relu(%x) : tensor<Nx4xf32>", message: "relu has 1 results here; the line names 2"),
    Case(
      body: "y = relu(%x) : tensor<Nx4xf32>",
      message: "3:3: error: expected a result such as %name, found 'y'"),
    Case(body: "%\"\" = relu(%x) : tensor<Nx4xf32>", message: "a name must not be empty"),
    Case(body: "%\"a\\q\" = relu(%x) : tensor<Nx4xf32>", message: "unknown escape"),
    Case(body: "%\"a = relu(%x) : tensor<Nx4xf32>", message: "the quoted text does not end"),
    Case(
      body: "%y = softmax(%x) {axes = 1} : tensor<Nx4xf32>",
      message: "softmax has no attribute 'axes'; it has axis, flatten"),
    Case(
      body: "%y = softmax(%x) {axis = one} : tensor<Nx4xf32>", message: "'axis' must be an integer, not 'one'"
    ),
    Case(body: "%y = softmax(%x) {axis = 1, axis = 1} : tensor<Nx4xf32>", message: "'axis' is given twice"),
    Case(body: "%y = softmax(%x) {axis = } : tensor<Nx4xf32>", message: "expected a value, found '}'"),
    Case(
      body: "%y = softmax(%x) {axis = 99999999999999999999} : tensor<Nx4xf32>",
      message: "'axis' must be an integer"),
    Case(
      body: "%y = softmax(%x) {axis = 7} : tensor<Nx4xf32>",
      message: "softmax: axis 7 is out of range for [N, 4]"),
    Case(body: "%y = relu(%x) : tensor<Nx4xf33>", message: "3:30: error: expected an element type"),
    Case(body: "%y = relu(%x) : tensor<Nx4xu9<1:0>>", message: "expected an element type"),
    Case(body: "%y = relu(%x) : tensor<Nx4xf32, nchw>", message: "expected the layout nhwc4, found 'nchw>'"),
    Case(body: "%y = relu(%x) : tensor<9999999999999x9999999999999xf32>", message: "the type is too large"),
    Case(body: "%y = relu(%x) : tensor<99999999999999999999xf32>", message: "an extent is too large"),
    Case(body: "%y = constant dense [1, 2] : tensor<3xi64>", message: "2 elements do not fill tensor<3xi64>"),
    Case(body: "%y = constant dense [1, 2.5] : tensor<2xi64>", message: "'2.5' is no i64"),
    Case(body: "%y = constant dense [1, 300] : tensor<2xbyte>", message: "'300' is no byte"),
    Case(body: "%y = constant base64 \"AAA\" : tensor<2xbyte>", message: "malformed base64 text"),
    Case(
      body: "%y = constant base64 \"AAAA\" : tensor<2xbyte>", message: "holds 3 bytes, tensor<2xbyte> needs 2"
    ),
    Case(body: "%y = constant @w : tensor<2xbyte>", message: "the contents of '@w' are missing"),
    Case(body: "%y = constant @w xxh3 \"12\" : tensor<2xbyte>", message: "a hash has 16 hexadecimal digits"),
    Case(
      body: "%y = constant sparse : tensor<2xbyte>",
      message: "expected 'dense [...]', 'base64 \"...\"' or '@name'"),
    Case(body: "%y = constant dense [1] : tensor<Nxf32>", message: "a constant needs a static shape"),
    Case(body: "%y, %z = constant dense [1] : tensor<1xf32>", message: "a constant has one result"),
    Case(body: "%y = relu(%x) : tensor<Nx4xf32> at -1", message: "expected a byte offset, found '-1'"),
  ]

  @Test(arguments: bodies)
  func aMistakeInTheBodyIsReportedWithItsPlace(_ example: Case) {
    expectFailure(
      "qir 1\ngraph @g stage imported (%x: tensor<Nx4xf32>) {\n  \(example.body)\n  return %x\n}\n",
      example.message)
  }

  @Test(arguments: [
    ("", "1:1: error: expected 'qir 1', which must be the first line, found the end of the text"),
    ("graph @g", "expected 'qir 1', which must be the first line, found 'graph'"),
    ("qir 2\ngraph @g", "this qcc reads version 1"),
    ("qir 1\n%x", "2:1: error: expected 'graph', found '%x'"),
    ("qir 1\ngraph g", "expected the graph's name such as @name, found 'g'"),
    ("qir 1\ngraph @g stage finished", "'finished' is no stage; expected one of imported, canonical"),
    ("qir 1\ngraph @g stage imported {a = 1, a = 2} () {\nreturn\n}", "'a' is given twice"),
    ("qir 1\ngraph @g stage imported {a = \"", "the attribute list does not end"),
    (
      "qir 1\ngraph @g stage imported (%x: tensor<f32>, %x: tensor<f32>) {\nreturn %x\n}",
      "'%x' is defined twice"
    ),
    ("qir 1\ngraph @g stage imported () {\n", "the graph does not end: expected 'return' and '}'"),
    ("qir 1\ngraph @g stage imported () {\n return\n} x", "expected the end of the text, found 'x'"),
    (
      "qir 1\ngraph @g stage imported {a = [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1} () {",
      "brackets nest deeper than 32"
    ),
  ])
  func aMistakeOutsideTheBodyIsReported(text: String, message: String) { expectFailure(text, message) }

  @Test func everyLineAtFaultIsReportedOnceAndNothingThatFollowsFromIt() throws {
    let text = """
      qir 1
      graph @g stage imported (%x: tensor<Nx4xf32>) {
        %a = nonsense(%x) : tensor<Nx4xf32>
        %b = relu(%a) : tensor<Nx4xf32>
        %c = relu(%x) : tensor<Nx3xf32>
        return %b
      }
      """
    let error = #expect(throws: CompilerError.self) { try Graph(text: text, file: "f.qir") }
    #expect(error?.diagnostics.map(\.location) == ["f.qir:3:8", "f.qir:5:19"])
  }

  @Test func textThatIsNotUTF8IsRefused() {
    let error = #expect(throws: CompilerError.self) { try Graph(text: [0x71, 0xFF]) }
    #expect(error?.status == .malformedInput)
  }

  private func expectFailure(_ text: String, _ message: String) {
    let error = #expect(throws: CompilerError.self) { try Graph(text: text) }
    #expect(error?.status == .malformedInput)
    #expect(error?.description.contains(message) == true, "\(error?.description ?? "no error")")
  }
}
