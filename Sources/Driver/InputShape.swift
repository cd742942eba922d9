import ArgumentParser
import IR

/// `--input-shape 'x=[N, 3, 224, 224]'`: a shape for an input whose sizes the model leaves open.
struct InputShape: ExpressibleByArgument, Sendable {
  var name: String
  var shape: Shape

  init?(argument: String) {
    guard let separator = argument.lastIndex(of: "="),
      let shape = Shape(text: String(argument[argument.index(after: separator)...])),
      separator > argument.startIndex,
      shape.extents.allSatisfy({ $0.value.map { $0 > 0 } ?? true })
    else { return nil }
    name = String(argument[..<separator])
    self.shape = shape
  }
}
