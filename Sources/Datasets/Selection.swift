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
