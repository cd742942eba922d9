import Support

/// A predictor as text: a line that says what it is, one of the sizes (inputs, members, hidden layers), one of mean and
/// deviation, then one of parameters for every member. Swift prints the shortest digits that read back as the same number.
extension AccuracyPredictor {
  private static let title = "qcc-accuracy-predictor 1"

  package var text: String {
    var lines = [
      Self.title,
      ([members[0].inputs, members.count] + members[0].hidden).map(String.init).joined(separator: " "),
      "\(mean) \(deviation)",
    ]
    for member in members { lines.append(member.parameters.map { "\($0)" }.joined(separator: " ")) }
    return lines.joined(separator: "\n") + "\n"
  }

  /// - Throws: `malformedInput` when the text is no predictor for sub-networks of this space.
  package init(text: String, for space: ElasticSpace, at location: String = "") throws(CompilerError) {
    let lines = text.split(separator: "\n")
    guard lines.count > 3, lines[0] == Self.title else {
      throw .malformed("no accuracy predictor: the first line is not '\(Self.title)'", at: location)
    }
    let sizes = lines[1].split(separator: " ").map { Int($0) ?? 0 }
    // The bound keeps products of two sizes far from overflow.
    guard sizes.count >= 2, sizes.allSatisfy({ 1...1_000_000 ~= $0 }), lines.count == 3 + sizes[1] else {
      throw .malformed("the sizes '\(lines[1])' do not fit the \(lines.count - 3) members", at: location)
    }
    guard sizes[0] == space.encodedCount else {
      throw .malformed(
        "the predictor takes \(sizes[0]) inputs, the supernet gives \(space.encodedCount)", at: location)
    }
    func numbers(_ line: Int, _ count: Int) throws(CompilerError) -> [Double] {
      let numbers = lines[line].split(separator: " ").compactMap { Double($0) }
      guard numbers.count == count, numbers.allSatisfy(\.isFinite) else {
        throw .malformed("line \(line + 1) has to hold \(count) finite numbers", at: location)
      }
      return numbers
    }
    let hidden = Array(sizes.dropFirst(2)), scale = try numbers(2, 2)
    let count = MultilayerPerceptron.parameterCount(inputs: sizes[0], hidden: hidden)
    var members: [MultilayerPerceptron] = []
    for line in lines.indices.dropFirst(3) {
      members.append(
        MultilayerPerceptron(inputs: sizes[0], hidden: hidden, parameters: try numbers(line, count)))
    }
    self.init(members: members, mean: scale[0], deviation: scale[1])
  }
}
