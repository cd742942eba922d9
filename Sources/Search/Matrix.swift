/// Rows of numbers, as many as the little networks here need.
struct Matrix: Hashable, Sendable {
  let rows: Int
  let columns: Int
  var values: [Double]

  init(rows: Int, columns: Int, values: [Double]) {
    precondition(values.count == rows * columns)
    self.rows = rows
    self.columns = columns
    self.values = values
  }
  init(rows: Int, columns: Int) {
    self.init(rows: rows, columns: columns, values: Array(repeating: 0, count: rows * columns))
  }
  /// - Requires: all as long as the first.
  init(_ rows: [[Double]]) {
    self.init(rows: rows.count, columns: rows.first?.count ?? 0, values: Array(rows.joined()))
  }

  subscript(row: Int, column: Int) -> Double { values[row * columns + column] }

  func rows(_ indices: ArraySlice<Int>) -> Matrix {
    Matrix(
      rows: indices.count, columns: columns,
      values: indices.flatMap { values[$0 * columns..<($0 + 1) * columns] })
  }

  var transposed: Matrix {
    var result = Matrix(rows: columns, columns: rows)
    for row in 0..<rows {
      for column in 0..<columns { result.values[column * rows + row] = self[row, column] }
    }
    return result
  }

  /// With a last column of ones.
  var augmented: Matrix {
    var result: [Double] = []
    result.reserveCapacity(rows * (columns + 1))
    for row in 0..<rows { result += values[row * columns..<(row + 1) * columns] + [1] }
    return Matrix(rows: rows, columns: columns + 1, values: result)
  }

  /// Skips the zeros of the left factor: most of one-hot vectors, and half of what a ReLU leaves.
  static func * (a: Matrix, b: Matrix) -> Matrix {
    precondition(a.columns == b.rows)
    var result = Matrix(rows: a.rows, columns: b.columns)
    result.values.withUnsafeMutableBufferPointer { sums in
      a.values.withUnsafeBufferPointer { left in
        b.values.withUnsafeBufferPointer { right in
          for row in 0..<a.rows {
            let sums = UnsafeMutableBufferPointer(rebasing: sums[row * b.columns..<(row + 1) * b.columns])
            for index in 0..<a.columns {
              let factor = left[row * a.columns + index]
              if factor == 0 { continue }
              let addends = UnsafeBufferPointer(
                rebasing: right[index * b.columns..<(index + 1) * b.columns])
              for column in 0..<sums.count { sums[column] += factor * addends[column] }
            }
          }
        }
      }
    }
    return result
  }
}
