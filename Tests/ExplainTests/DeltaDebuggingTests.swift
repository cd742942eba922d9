import Support
import Testing

@testable import Explain

/// Delta debugging against all subsets of small sets.
@Suite("Delta debugging")
struct DeltaDebuggingTests {
  /// A set of numbers below 32 as bits.
  private func bits(_ set: [Int]) -> Int { set.reduce(0) { $0 | 1 << $1 } }

  /// Fails where one of a few guilty sets is contained: the result must be one of the minimal ones, found by looking at
  /// every subset.
  @Test(arguments: 0..<200) func monotone(seed: Int) throws {
    var random = SeededRandom(seed: UInt64(seed), stream: 1)
    let count = 1 + Int(random.below(9)), all = (1 << count) - 1
    let families = (0...Int(random.below(3))).map { _ in Int(random.below(UInt64(all))) + 1 }
    func fails(_ set: Int) -> Bool { families.contains { set & $0 == $0 } }
    let minimal = (1...all).filter { set in
      fails(set) && !(0..<count).contains { set >> $0 & 1 == 1 && fails(set & ~(1 << $0)) }
    }
    var order = Array(0..<count)
    for index in order.indices.reversed() { order.swapAt(index, Int(random.below(UInt64(index + 1)))) }
    var asked: [Int] = [], smallest = count
    let found = minimalFailingSubset(
      of: order,
      found: {
        #expect($0.count < smallest && fails(bits($0)))
        smallest = $0.count
      }
    ) {
      asked.append(bits($0))
      return fails(bits($0))
    }
    #expect(minimal.contains(bits(found)))
    #expect(Set(asked).count == asked.count, "a set was asked for twice")
    #expect(!asked.contains(all) && !asked.contains(0))
    #expect(found == order.filter(found.contains), "the order of the elements is kept")
    #expect(found == minimalFailingSubset(of: order) { fails(bits($0)) })
  }

  /// Any predicate: the result fails, and no longer does without any one element.
  @Test(arguments: 0..<200) func arbitrary(seed: Int) throws {
    var random = SeededRandom(seed: UInt64(seed), stream: 2)
    let count = 2 + Int(random.below(7)), all = (1 << count) - 1
    var table = (0...all).map { _ in random.below(3) == 0 }
    table[0] = false
    table[all] = true
    let found = bits(minimalFailingSubset(of: Array(0..<count)) { table[bits($0)] })
    #expect(table[found])
    for element in 0..<count where found >> element & 1 == 1 { #expect(!table[found & ~(1 << element)]) }
  }

  @Test func sortedGuiltyTakeFewTests() {
    var tests = 0
    let found = minimalFailingSubset(of: Array(0..<100)) {
      tests += 1
      return $0.contains(0) && $0.contains(2)
    }
    #expect(found == [0, 2])
    #expect(tests < 15)
  }
}
