/// Sums the words of blocks of 512 bytes aligned to 64, 64 bytes at a time.
package func readMemoryAVX512VNNI(_ memory: UnsafeRawPointer, _ blocks: Int) -> Int32 {
  typealias Vector = SIMD16<Int32>
  var a = Vector.zero, b = Vector.zero, c = Vector.zero, d = Vector.zero
  let vectors = memory.assumingMemoryBound(to: Vector.self)
  var index = 0
  let end = blocks &* (512 / 64)
  while index < end {
    a = a &+ vectors[index]
    b = b &+ vectors[index &+ 1]
    c = c &+ vectors[index &+ 2]
    d = d &+ vectors[index &+ 3]
    index &+= 4
  }
  let sum = a &+ b &+ c &+ d
  return sum[0] &+ sum[16 / 2]
}
