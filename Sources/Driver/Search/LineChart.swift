import Glibc

/// Panels of one line each over a common axis, as SVG that needs nothing else.
struct LineChart {
  struct Panel {
    let title: String
    let points: [(x: Double, y: Double)]

    init(_ title: String, _ points: [(x: Double, y: Double)]) {
      self.title = title
      self.points = points.filter { $0.x.isFinite && $0.y.isFinite }
    }
  }
  let title: String
  let horizontal: String
  let panels: [Panel]

  private static let width = 640.0, panelHeight = 220.0, left = 70.0, right = 20.0, top = 40.0

  var svg: String {
    let height = Self.top + Double(panels.count) * Self.panelHeight + 20
    var lines = [
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"\(number(Self.width))\" height=\"\(number(height))\" "
        + "viewBox=\"0 0 \(number(Self.width)) \(number(height))\" font-family=\"sans-serif\" font-size=\"12\">",
      "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>",
      text(title, Self.width / 2, 20, "middle", size: 15),
    ]
    let xs = Axis(panels.flatMap { $0.points.map(\.x) })
    for (index, panel) in panels.enumerated() {
      lines += draw(panel, xs, Self.top + Double(index) * Self.panelHeight)
    }
    lines.append(text(horizontal, Self.width / 2, height - 6, "middle"))
    return (lines + ["</svg>"]).joined(separator: "\n") + "\n"
  }

  private func draw(_ panel: Panel, _ xs: Axis, _ start: Double) -> [String] {
    let ys = Axis(panel.points.map(\.y)), low = start + Self.panelHeight - 40, high = start + 20
    func x(_ value: Double) -> Double {
      Self.left + xs.position(value) * (Self.width - Self.left - Self.right)
    }
    func y(_ value: Double) -> Double { low - ys.position(value) * (low - high) }
    var lines = [text(panel.title, Self.left, start + 12, "start")]
    for tick in ys.ticks {
      lines.append(line(Self.left, y(tick), Self.width - Self.right, y(tick), "#ddd"))
      lines.append(text(label(tick), Self.left - 6, y(tick) + 4, "end"))
    }
    for tick in xs.ticks {
      lines.append(line(x(tick), low, x(tick), low + 4, "#333"))
      lines.append(text(label(tick), x(tick), low + 18, "middle"))
    }
    lines.append(line(Self.left, low, Self.width - Self.right, low, "#333"))
    lines.append(line(Self.left, high, Self.left, low, "#333"))
    let path = panel.points.map { "\(number(x($0.x))),\(number(y($0.y)))" }.joined(separator: " ")
    lines.append("<polyline points=\"\(path)\" fill=\"none\" stroke=\"#1f5fa8\" stroke-width=\"2\"/>")
    lines += panel.points.map {
      "<circle cx=\"\(number(x($0.x)))\" cy=\"\(number(y($0.y)))\" r=\"3\" fill=\"#1f5fa8\"/>"
    }
    return lines
  }

  private func line(_ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, _ color: String) -> String {
    "<line x1=\"\(number(x1))\" y1=\"\(number(y1))\" x2=\"\(number(x2))\" y2=\"\(number(y2))\" stroke=\"\(color)\"/>"
  }
  private func text(_ text: String, _ x: Double, _ y: Double, _ anchor: String, size: Int = 12) -> String {
    var escaped = ""
    for character in text {
      switch character {
      case "&": escaped += "&amp;"
      case "<": escaped += "&lt;"
      case ">": escaped += "&gt;"
      case let other: escaped.append(other)
      }
    }
    return
      "<text x=\"\(number(x))\" y=\"\(number(y))\" text-anchor=\"\(anchor)\" font-size=\"\(size)\">\(escaped)</text>"
  }
  private func number(_ value: Double) -> String { fixed(value, 1) }
  private func label(_ value: Double) -> String {
    let digits = abs(value) >= 100 || value == value.rounded() ? 0 : abs(value) >= 1 ? 2 : 4
    return fixed(value, digits)
  }
}

/// A range with about five ticks at round numbers.
private struct Axis {
  let low: Double
  let high: Double
  let ticks: [Double]

  init(_ values: [Double]) {
    let least = values.min() ?? 0, largest = values.max() ?? 1
    let span = largest > least ? largest - least : max(abs(least), 1)
    let raw = span / 4, power = pow(10, floor(log10(raw)))
    let step = [1, 2, 2.5, 5, 10].map { $0 * power }.first { $0 >= raw } ?? raw
    low = floor(least / step) * step
    high = max(ceil(largest / step) * step, low + step)
    ticks = (0...Int(((high - low) / step).rounded())).map { [low] in low + Double($0) * step }
  }
  func position(_ value: Double) -> Double { (value - low) / (high - low) }
}
