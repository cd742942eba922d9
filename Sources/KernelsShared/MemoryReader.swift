/// Sums the words of blocks of 512 bytes aligned to 64, four vectors at a time.
package func readMemory(_ memory: UnsafeRawPointer, _ blocks: Int) -> Int32 {
  var a = Lanes.zero, b = Lanes.zero, c = Lanes.zero, d = Lanes.zero
  let vectors = memory.assumingMemoryBound(to: Lanes.self)
  var index = 0
  let end = blocks &* (512 / MemoryLayout<Lanes>.size)
  while index < end {
    a = a &+ vectors[index]
    b = b &+ vectors[index &+ 1]
    c = c &+ vectors[index &+ 2]
    d = d &+ vectors[index &+ 3]
    index &+= 4
  }
  let sum = a &+ b &+ c &+ d
  return sum[0] &+ sum[Lanes.scalarCount / 2]
}
