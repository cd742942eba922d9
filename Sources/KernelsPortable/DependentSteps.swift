/// Additions and exclusive ors, `2 * iterations` of them, each of which waits for the last: they take a cycle each on all
/// processors, so that the time tells the frequency.
package func dependentStepsPortable(iterations: Int) -> Int32 {
  // Unknown to the compiler, which would combine steps otherwise.
  let step = UInt64(truncatingIfNeeded: iterations)
  var x = step
  for _ in 0..<iterations { x = (x &+ step) ^ step }
  return Int32(truncatingIfNeeded: x)
}
