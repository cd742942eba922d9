import IR
import Passes
import Support

/// What `qcc search` says: the form of every site with what it costs the network, then the whole.
struct SearchReport {
  let searcher: Searcher
  let budgets: Budgets
  let point: SearchPoint
  let hasLabels: Bool
  let path: String
  var bisection: AccuracyBisection?

  private var sites: [SearchSite] { searcher.table.sites }

  var text: String {
    var table = Table(
      ["site", "elements", "form", "score", "KL", "output dB", "local dB", "weights dB"],
      right: [1, 3, 4, 5, 6, 7])
    for site in sites {
      let form = point.solution.forms[site.index]
      guard site.role == .weight || site.candidates.count > 1 else { continue }
      let entry = searcher.table.entries[site.index][form]
      func ratio(_ noise: Double?) -> String { noise.map { $0 > 0 ? fixed(decibels($0), 1) : "" } ?? "" }
      table.add([
        site.name, humanCount(site.elements),
        site.forms[form].text + (site.candidates.count == 1 ? " fixed" : ""),
        entry.map { fixed(searcher.settings.score.of($0), 6) } ?? "",
        entry.map { $0.isMeasured ? fixed($0.divergence, 6) : "" } ?? "", ratio(entry?.outputNoise),
        ratio(entry?.localNoise), ratio(entry?.weightNoise),
      ])
    }
    return table.text + "\n" + summary
  }

  private var summary: String {
    let q = point.quality
    var lines = ["\(path): \(fixed(point.averageBits, 3)) bits a weight, program of \(q.bytes) bytes"]
    for (kind, cost) in point.solution.costs {
      let limit = budgets[kind].map { " of at most \(kind.text($0))" } ?? ""
      lines.append("  \(kind.rawValue): \(kind.text(cost))\(limit)")
    }
    let proof = point.solution.isOptimal ? "the least possible" : "not proved least: time ran out"
    lines.append(
      "  sum of scores (\(searcher.settings.score.rawValue)): \(fixed(point.solution.score, 6)), \(proof)")
    lines.append(
      "  against float on \(q.samples) samples: signal to noise \(fixed(q.signalToNoise, 1)) dB, same answer on \(fixed(q.agreement, 1)) %"
    )
    if hasLabels {
      lines.append(
        "  top-1 \(fixed(q.top1, 2)) %, float \(fixed(q.floatTop1, 2)) %, wins \(q.wins), losses \(q.losses)")
    }
    if let bisection {
      lines.append(
        "  bisection: \(bisection.evaluations) assignments measured"
          + (bisection.failing.map {
            "; the largest that fell too far has \($0.point.quality.bytes) bytes and top-1 \(fixed($0.point.quality.top1, 2)) %"
          } ?? "; even the smallest holds"))
    }
    return lines.joined(separator: "\n")
  }

  var json: Json {
    .object([
      ("assignment", .string(path)), ("target", .string(searcher.target.name)),
      ("score", .string(searcher.settings.score.rawValue)), ("result", point.json(hasLabels: hasLabels)),
      (
        "sites",
        .array(
          sites.map { site in
            let form = point.solution.forms[site.index], entry = searcher.table.entries[site.index][form]
            var members: [(String, Json)] = [
              ("site", .string(site.name)), ("role", .string(site.role.rawValue)),
              ("elements", .int(site.elements)), ("form", .string(site.forms[form].text)),
              ("is-fixed", .bool(site.candidates.count == 1)),
            ]
            if let entry {
              func measured(_ number: Double) -> Json { entry.isMeasured ? .double(number) : .null }
              members += [
                ("score", .double(searcher.settings.score.of(entry))), ("kl", measured(entry.divergence)),
                ("output-sqnr-db", measured(decibels(entry.outputNoise))),
                ("local-sqnr-db", measured(decibels(entry.localNoise))),
                ("weight-sqnr-db", site.role == .weight ? .double(decibels(entry.weightNoise)) : .null),
              ]
            }
            return .object(members)
          })
      ),
    ])
  }
}
