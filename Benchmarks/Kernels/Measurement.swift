import KernelInterface
import Runtime

/// The best of many runs of one kernel on one layer.
struct Measurement {
  var layer: String
  var kernel: String
  var seconds: Double
  var operations: Int
  /// Bits of an input number, where each is an operation of its own.
  var planes: Int
  /// Operations per second of the instructions' ceiling, where one is known.
  var peak: Double?

  var gops: Double { Double(operations) / seconds / 1e9 }
  var share: Double? { peak.map { gops * Double(planes) * 1e9 / $0 } }
}

struct Report {
  var peaks: [(name: String, gops: Double)] = []
  var measurements: [Measurement] = []

  var text: String {
    var lines = peaks.map { "peak \($0.name): \(Int($0.gops)) GOPS" }
    lines.append(
      padded("layer", 18) + padded("kernel", 24) + padded("µs", 10) + padded("GOPS", 9) + "of peak")
    for m in measurements {
      lines.append(
        padded(m.layer, 18) + padded(m.kernel, 24) + padded(oneDecimal(m.seconds * 1e6), 10)
          + padded(oneDecimal(m.gops), 9) + (m.share.map { "\(oneDecimal($0 * 100)) %" } ?? "-"))
    }
    return lines.joined(separator: "\n")
  }

  var json: String {
    let peakFields = peaks.map { "\"\($0.name)\": \(oneDecimal($0.gops))" }.joined(separator: ", ")
    let rows = measurements.map { m in
      let share = m.share.map { "\(($0 * 1000).rounded() / 1000)" } ?? "null"
      let names = "\"layer\": \"\(m.layer)\", \"kernel\": \"\(m.kernel)\""
      let numbers = "\"microseconds\": \(oneDecimal(m.seconds * 1e6)), \"gops\": \(oneDecimal(m.gops))"
      return "  {\(names), \(numbers), \"shareOfPeak\": \(share)}"
    }
    return "{\"peakGops\": {\(peakFields)}, \"kernels\": [\n" + rows.joined(separator: ",\n") + "\n]}"
  }
}

private func padded(_ text: String, _ width: Int) -> String {
  text + String(repeating: " ", count: max(1, width - text.count))
}

private func oneDecimal(_ value: Double) -> String { "\((value * 10).rounded() / 10)" }

private func seconds(_ body: () -> Void) -> Double {
  let duration = ContinuousClock().measure(body)
  return Double(duration.components.seconds) + Double(duration.components.attoseconds) * 1e-18
}

/// Measures all layers with all kernels of their kind that the host can run. Peaks are measured in turns
/// with the kernels, so that both see the same clock frequency.
func measureAll(runs: Int, where isWanted: (String) -> Bool) -> Report {
  let host = CPUFeatures.host
  let peaks = KernelTable.peaks.filter { host.isSuperset(of: $0.features) }
  var bestOfPeaks = [Double](repeating: 0, count: peaks.count)
  var rows: [(measurement: Measurement, peak: Int?)] = []
  func add(
    _ layer: String, _ kernel: String, operations: Int, planes: Int = 1, peak: (Peak) -> Bool, run: () -> Void
  ) {
    // Short kernels are repeated within a run, for the clock's resolution; slow ones need fewer runs.
    let once = max(seconds(run), 1e-6)
    let repetitions = max(1, Int(2e-4 / once))
    var minimum = once
    var spent = 0.0
    for turn in 0..<runs where turn < 5 || spent < 0.5 {
      if turn % 10 == 0 {
        for (index, peak) in peaks.enumerated() {
          bestOfPeaks[index] = max(bestOfPeaks[index], measure(peak))
        }
      }
      let time = seconds { for _ in 0..<repetitions { run() } }
      minimum = min(minimum, time / Double(repetitions))
      spent += time
    }
    let measurement = Measurement(
      layer: layer, kernel: kernel, seconds: minimum, operations: operations, planes: planes, peak: nil)
    rows.append((measurement, peaks.firstIndex(where: peak)))
  }
  for layer in Layer.all {
    for kernel in KernelTable.all where host.isSuperset(of: kernel.features) {
      // Kernels of bits with inputs of one and of two bits.
      for planes in kernel.kind.isBitSerial ? [1, 2] : [1] {
        let name = planes > 1 ? "\(kernel.name) x\(planes)" : "\(kernel.name)"
        guard isWanted("\(name) \(layer.name)") else { continue }
        add(
          layer.name, name, operations: layer.operations, planes: planes,
          peak: { $0.features == kernel.features && $0.kinds.contains(kernel.kind) },
          run: PreparedLayer(layer, kernel, planes: planes).run)
      }
    }
  }
  for layer in Layer.all where layer.kernelSize == 3 && layer.stride == 1 {
    for kernel in KernelTable.winograd where isWanted("\(kernel.name) \(layer.name)") {
      guard host.isSuperset(of: kernel.features) else { continue }
      // Operations of the direct formula, so that its share of the peak can be above 1.
      add(
        layer.name, "\(kernel.name)", operations: layer.operations,
        peak: { $0.features == kernel.features && $0.kinds.contains(.dense8) },
        run: PreparedWinograd(layer, kernel).run)
    }
  }
  for layer in DepthwiseBenchmark.all {
    for kernel in KernelTable.depthwise where isWanted("\(kernel.name) \(layer.name)") {
      guard host.isSuperset(of: kernel.features) else { continue }
      // Its weights have 8 bits.
      add(
        layer.name, "\(kernel.name)", operations: layer.operations,
        peak: { $0.features == kernel.features && $0.kinds.contains(.dense8) },
        run: PreparedDepthwise(layer, kernel).run)
    }
  }
  var report = Report()
  report.peaks = zip(peaks, bestOfPeaks).map { ("\($0.name)", $1 / 1e9) }
  report.measurements = rows.map { row in
    var measurement = row.measurement
    measurement.peak = row.peak.map { bestOfPeaks[$0] }
    return measurement
  }
  return report
}

/// Operations per second. The result is used, so that the work cannot be left out.
private func measure(_ peak: Peak) -> Double {
  let iterations = 20_000
  var result: Int32 = 0
  let time = seconds { result = peak.function(iterations) }
  precondition(result != Int32.min, "a sum of squares of bytes cannot be this")
  return Double(peak.operationsPerIteration * iterations) / time
}
