import COneDNN
import Support

/// `aᵀ b` of two row-major matrices of `rows` x `columns`, on the calling thread.
/// - Requires: a.count == b.count == rows * columns.
/// - Throws: `unavailable` when oneDNN refuses.
package func transposedProduct(
  _ a: [Float], _ b: [Float], rows: Int, columns: Int
) throws(CompilerError) -> [Float] {
  precondition(
    a.count == rows * columns && b.count == a.count, "\(a.count) elements are no \(rows) x \(columns) matrix")
  var result = [Float](repeating: 0, count: columns * columns)
  guard rows > 0, columns > 0 else { return result }
  OneDNN.useOneThread()
  let status = a.withUnsafeBufferPointer { a in
    b.withUnsafeBufferPointer { b in
      result.withUnsafeMutableBufferPointer { y in
        dnnl_sgemm(
          CChar(UInt8(ascii: "T")), CChar(UInt8(ascii: "N")), Int64(columns), Int64(columns), Int64(rows), 1,
          a.baseAddress, Int64(columns), b.baseAddress, Int64(columns), 0, y.baseAddress, Int64(columns))
      }
    }
  }
  do throws(OneDNNError) { try OneDNN.check(status, "sgemm") } catch {
    throw CompilerError(error.description, status: .unavailable)
  }
  return result
}
