/// Delta debugging: a subset of `elements` that still fails and of which no element can be left out (ddmin; Zeller and
/// Hildebrandt, Simplifying and Isolating Failure-Inducing Input, IEEE TSE 2002).
///
/// Before it, bisection looks for a failing prefix, so that elements sorted with the likely guilty first take few
/// tests. The result depends on the order alone.
/// - Parameters:
///   - elements: which fail together, without repetition.
///   - found: called with every smaller failing set, so that an interrupted search has something to show.
///   - fails: whether a set, in the order of `elements`, fails. No set is asked for twice; never all, nor none.
package func minimalFailingSubset(
  of elements: [Int], found: ([Int]) -> Void = { _ in }, _ fails: ([Int]) throws -> Bool
) rethrows -> [Int] {
  var known: [[Int]: Bool] = [elements: true, []: false]
  func check(_ set: [Int]) throws -> Bool {
    if let answer = known[set] { return answer }
    let answer = try fails(set)
    known[set] = answer
    return answer
  }

  // The shortest failing prefix, if failing is monotone; a failing one in any case.
  var passing = 0, length = elements.count
  while length - passing > 1 {
    let middle = (passing + length) / 2
    if try check(Array(elements[..<middle])) {
      length = middle
      found(Array(elements[..<length]))
    } else {
      passing = middle
    }
  }

  var set = Array(elements[..<length]), parts = 2
  while set.count > 1 {
    let pieces = split(set, parts)
    func without(_ piece: [Int]) -> [Int] { set.filter { !piece.contains($0) } }
    if let piece = try pieces.first(where: { try check($0) }) {
      (set, parts) = (piece, 2)
    } else if parts > 2, let piece = try pieces.first(where: { try check(without($0)) }) {
      (set, parts) = (without(piece), max(parts - 1, 2))
    } else if parts < set.count {
      parts = min(2 * parts, set.count)
      continue
    } else {
      break
    }
    found(set)
  }
  return set
}

/// `set` in `parts` pieces of nearly equal length, the last elements first: of a sorted set they are the least suspect,
/// and their complements are tried before others.
private func split(_ set: [Int], _ parts: Int) -> [[Int]] {
  (0..<parts).reversed().map { Array(set[$0 * set.count / parts..<($0 + 1) * set.count / parts]) }
}
