import Support

/// `wanted` different indices of `0 ..< count`, chosen by `seed` and in increasing order; all of them when `wanted` is
/// nil or not smaller than `count`. Every choice is equally likely (Knuth, volume 2, algorithm S).
package func selectSamples(count: Int, wanted: Int?, seed: UInt64) -> [Int] {
  guard let wanted, wanted < count else { return Array(0..<count) }
  var random = SeededRandom(seed: seed)
  var chosen: [Int] = []
  chosen.reserveCapacity(max(wanted, 0))
  for index in 0..<count where chosen.count < wanted {
    let missing = UInt64(wanted - chosen.count)
    if random.below(UInt64(count - index)) < missing { chosen.append(index) }
  }
  return chosen
}

/// The same choice in an order of its own: whoever takes the first few, or sets the last few aside, then gets all kinds.
/// Datasets are often sorted by class.
package func shuffledSamples(count: Int, wanted: Int?, seed: UInt64) -> [Int] {
  var chosen = selectSamples(count: count, wanted: wanted, seed: seed)
  var random = SeededRandom(seed: seed, stream: 1)
  chosen.shuffle(using: &random)
  return chosen
}
