import COneDNN
import Support

/// Adds `aᵀ b` of two row-major matrices of `rows` x `columns` to the square matrix `sum`, on the calling thread.
/// - Parameter stride: numbers from row to row of a and b, at least `columns`.
/// - Requires: `sum` has columns * columns numbers, a and b (rows - 1) * stride + columns.
/// - Throws: `unavailable` when oneDNN refuses.
package func addTransposedProduct(
  _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, rows: Int, columns: Int, stride: Int,
  to sum: UnsafeMutablePointer<Float>
) throws(CompilerError) {
  guard rows > 0, columns > 0 else { return }
  OneDNN.useOneThread()
  // oneDNN's matrices are row-major too.
  let status = dnnl_sgemm(
    CChar(UInt8(ascii: "T")), CChar(UInt8(ascii: "N")), Int64(columns), Int64(columns), Int64(rows), 1, a,
    Int64(stride), b, Int64(stride), 1, sum, Int64(columns))
  do throws(OneDNNError) { try OneDNN.check(status, "sgemm") } catch {
    throw CompilerError(error.description, status: .unavailable)
  }
}

/// `result = a b` of row-major matrices, `a` of `rows` x `size`, `b` square, on the calling thread.
/// - Requires: the sizes; `result` has as many numbers as `a`.
/// - Throws: `unavailable` when oneDNN refuses.
package func multiply(
  _ a: [Float], rows: Int, by b: [Float], size: Int, into result: inout [Float]
) throws(CompilerError) {
  precondition(a.count == rows * size && b.count == size * size && result.count == a.count)
  guard rows > 0, size > 0 else { return }
  OneDNN.useOneThread()
  let status = dnnl_sgemm(
    CChar(UInt8(ascii: "N")), CChar(UInt8(ascii: "N")), Int64(rows), Int64(size), Int64(size), 1, a,
    Int64(size), b, Int64(size), 0, &result, Int64(size))
  do throws(OneDNNError) { try OneDNN.check(status, "sgemm") } catch {
    throw CompilerError(error.description, status: .unavailable)
  }
}
