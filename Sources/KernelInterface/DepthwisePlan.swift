/// How the taps of a depthwise convolution become dot products of a few neighbouring inputs of one channel.
///
/// Kernels interleave inputs into *planes*: lane l of column x of a plane is the input at row `rows[l]` and column
/// `x * strideColumns + columns[l]`, counted from where the window of the first output begins. A *term* is a dot product:
/// column x of the output adds Σ_l lane l of column `x + offset` of the plane times the weight of tap `upper[l]`. Where two
/// output rows are neighbours in the input, planes serve both, the second with the taps `lower`. With four lanes:
///
///     3x3, stride 1: input rows 0 1 2 3 ──→ plane 0 ──┬─ weights of rows 0 1 2 ·   upper
///                                                     └─ weights of rows · 0 1 2   lower
///
///     5x5, stride 1: input rows 0 1 2 3 ──→ plane 0, at offsets 0 1 2 3 4
///                    input rows 4 5 of columns 0 1 ──→ plane 1, at offsets 0 2 4
package struct DepthwisePlan: @unchecked Sendable {  // its owner does not change what the pointers lead to
  package struct Plane: BitwiseCopyable, Sendable {
    /// -1 for lanes without input.
    package var rows: SIMD4<Int32>
    package var columns: SIMD4<Int32>
  }

  package struct Term: BitwiseCopyable, Sendable {
    package var plane: Int32
    package var offset: Int32
    /// -1 for lanes without a weight.
    package var upper: SIMD4<Int32>
    package var lower: SIMD4<Int32>
  }

  /// Output rows that share planes: 1 or 2.
  package let rows: Int
  package let planes: UnsafePointer<Plane>
  package let planeCount: Int
  package let terms: UnsafePointer<Term>
  package let termCount: Int
  /// The largest offset of a term.
  package let reach: Int

  package init(_ tables: Tables, planes: UnsafePointer<Plane>, terms: UnsafePointer<Term>) {
    rows = tables.rows
    self.planes = planes
    planeCount = tables.planes.count
    self.terms = terms
    termCount = tables.terms.count
    reach = tables.reach
  }
}

extension DepthwisePlan {
  /// A plan in arrays, before it has an address.
  package struct Tables {
    package let rows: Int
    package private(set) var planes: [Plane] = []
    package private(set) var terms: [Term] = []
    package private(set) var reach = 0

    /// - Parameter lanes: inputs of a dot product: 2 or 4; 0 for kernels without a plan, which is empty.
    package init(_ layer: DepthwiseLayer, lanes: Int) {
      guard lanes > 0 else {
        rows = 1
        return
      }
      rows = layer.strideRows == 1 && layer.dilationRows == 1 ? 2 : 1
      let windowRows = layer.kernelHeight + rows - 1
      for firstRow in stride(from: 0, to: windowRows, by: lanes) {
        // As many columns as fit beside the rows: 3 rows take 4 lanes of one column.
        let left = min(lanes, windowRows - firstRow)
        let groupRows = left == 3 ? 4 : left
        add(layer, rows: firstRow..<firstRow + groupRows, columnsAtOnce: lanes / groupRows)
      }
    }

    /// The terms of all columns of some rows of the window.
    private mutating func add(_ layer: DepthwiseLayer, rows group: Range<Int>, columnsAtOnce: Int) {
      let firstPlane = planes.count
      for column in stride(from: 0, to: layer.kernelWidth, by: columnsAtOnce) {
        let shift = column * layer.dilationColumns
        let phase = Int32(truncatingIfNeeded: shift % layer.strideColumns)
        var plane = Plane(rows: SIMD4(repeating: -1), columns: SIMD4(repeating: phase))
        var upper = SIMD4<Int32>(repeating: -1), lower = upper
        for lane in 0..<group.count * columnsAtOnce {
          let row = group.lowerBound + lane % group.count, ahead = lane / group.count
          if row < layer.kernelHeight + rows - 1 {
            plane.rows[lane] = Int32(truncatingIfNeeded: row * layer.dilationRows)
          }
          plane.columns[lane] = phase + Int32(truncatingIfNeeded: ahead * layer.dilationColumns)
          upper[lane] = tap(layer, row, column + ahead)
          if rows == 2 { lower[lane] = tap(layer, row - 1, column + ahead) }
        }
        let index = planes[firstPlane...].firstIndex { $0.columns[0] == phase } ?? planes.count
        if index == planes.count { planes.append(plane) }
        let offset = shift / layer.strideColumns
        terms.append(
          Term(
            plane: Int32(truncatingIfNeeded: index), offset: Int32(truncatingIfNeeded: offset), upper: upper,
            lower: lower))
        reach = max(reach, offset)
      }
    }

    private func tap(_ layer: DepthwiseLayer, _ row: Int, _ column: Int) -> Int32 {
      guard (0..<layer.kernelHeight).contains(row), column < layer.kernelWidth else { return -1 }
      return Int32(truncatingIfNeeded: row * layer.kernelWidth + column)
    }
  }
}
