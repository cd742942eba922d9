import Foundation
import IR
import Numerics
import PassKit
import Support
import Testing

@testable import Passes

@Suite("Scores from second derivatives")
struct CurvatureSearchTests {
  private func settings(_ score: SearchScore) -> SearchSettings {
    var settings = SearchSettings()
    settings.score = score
    settings.weightBits = [8, 4, 2]
    settings.sensitivity.samples = 20
    return settings
  }
  private func context(threads: Int = 1) -> PassContext {
    var context = PassContext(threads: threads)
    context.calibration = RandomSamples(count: 20)
    return context
  }

  @Test(arguments: [SearchScore.hessian, .eigenvalue])
  func scoresAreTheSameForAnyNumberOfThreads(score: SearchScore) throws {
    let tables = try [1, 2, 3].map { threads in
      var context = context(threads: threads)
      return try Searcher(try sampleNetwork(), settings(score), Budgets(), &context).table
    }
    #expect(tables[1].entries == tables[0].entries && tables[2].entries == tables[0].entries)
    for site in tables[0].sites where site.role == .weight {
      let scores = site.candidates.compactMap { tables[0].entries[site.index][$0].map(score.of) }
      #expect(scores.count == site.candidates.count && scores.allSatisfy { $0 > 0 })
      #expect(zip(scores, scores.dropFirst()).allSatisfy { $0 < $1 }, "\(site.name): \(scores)")
    }
  }

  /// What was measured is what second derivatives along the errors predict, and below the bound, where errors are small.
  @Test func predictionsAgreeWithMeasurements() throws {
    func table(_ score: SearchScore) throws -> SensitivityTable {
      var context = context()
      var settings = settings(score)
      settings.activationBits = [8, 4]
      return try Searcher(try sampleNetwork(), settings, Budgets(), &context).table
    }
    let measured = try table(.divergence), along = try table(.hessian), largest = try table(.eigenvalue)
    for site in measured.sites where site.candidates.count > 1 {
      for form in site.candidates {
        let kl = try #require(measured.entries[site.index][form])
        let predicted = try #require(along.entries[site.index][form])
        let bound = try #require(largest.entries[site.index][form])
        guard site.role == .weight else {
          // Of activations it is the measured one.
          #expect(SearchScore.hessian.of(predicted) == kl.divergence && predicted.isMeasured)
          continue
        }
        #expect(predicted.perturbation == kl.perturbation && !predicted.isMeasured)
        guard site.forms[form].width.storageBits == 8 else { continue }
        #expect(kl.divergence < 1.1 * SearchScore.eigenvalue.of(bound))
        // Of 20 samples, by random signs.
        let ratio = SearchScore.hessian.of(predicted) / kl.divergence
        #expect(ratio > 0.5 && ratio < 2, "\(site.name): \(ratio)")
      }
    }
  }

  @Test(arguments: [SearchScore.hessian, .eigenvalue])
  func anInterruptedComputationGoesOn(score: SearchScore) throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "qcc-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let graph = try sampleNetwork()
    var plain = context(), settings = settings(score)
    let expected = try Searcher(graph, settings, Budgets(), &plain).table
    settings.sensitivity.cacheFolder = folder
    let ends = Ends()
    var stopping = context()
    stopping.isInterrupted = { ends.isPassed }
    stopping.progress = { phase, done, _ in
      if phase.hasSuffix("derivatives") || phase.hasSuffix("eigenvalues"), done == 2 { ends.pass() }
    }
    #expect {
      _ = try Searcher(graph, settings, Budgets(), &stopping)
    } throws: { ($0 as? CompilerError)?.status == .interrupted }
    let files = try FileManager.default.contentsOfDirectory(atPath: folder)
      .filter { $0.hasSuffix(".curvature") }
    #expect(files.count == 1)
    let kept = try String(contentsOfFile: "\(folder)/\(files[0])", encoding: .utf8)
    #expect(kept.split(separator: "\n").count == 2 + 2)
    var resumed = context(threads: 2)
    #expect(try Searcher(graph, settings, Budgets(), &resumed).table.entries == expected.entries)
    // Damaged files are ignored.
    let whole = try String(contentsOfFile: "\(folder)/\(files[0])", encoding: .utf8)
    for text in ["", "\(whole)x\n", String(whole.dropLast()), whole + whole, "\(whole)nan\n"] {
      try writeFile("\(folder)/\(files[0])", text)
      var again = context()
      #expect(try Searcher(graph, settings, Budgets(), &again).table.entries == expected.entries)
    }
  }

  private final class Ends: @unchecked Sendable {
    private let lock = NSLock()
    private var passed = false
    var isPassed: Bool { lock.withLock { passed } }
    func pass() { lock.withLock { passed = true } }
  }

  @Test(arguments: [SearchScore.hessian, .eigenvalue], [false, true])
  func searchesKeepToTheirBudget(score: SearchScore, interactions: Bool) throws {
    var context = context(), settings = settings(score), budgets = Budgets()
    settings.sensitivity.interactions = interactions
    budgets[.averageBits] = 4
    let searcher = try Searcher(try sampleNetwork(), settings, budgets, &context)
    let solution = try searcher.solve(budgets)
    #expect(solution.isOptimal && solution.costs[0].cost <= 4 && searcher.averageBits(solution.forms) <= 4)
    #expect(searcher.table.interactions.isEmpty != interactions)
    let file = searcher.file(solution, budgets)
    #expect(file.notes[0].1 == score.rawValue)
    #expect(try AssignmentFile(text: file.text, at: "test") == file)
    // The pass chooses the same.
    let pass = try (try sampleNetwork()).applying(
      search,
      [
        ("avg-bits", "4"), ("weight-bits", "[8, 4, 2]"), ("samples", "20"), ("score", score.rawValue),
        ("interactions", "\(interactions)"),
      ], &context)
    let forms = zip(searcher.table.sites, solution.forms).map { $0.forms[$1] }
    #expect(pass.quantizers.map(\.quantizer.form) == forms)
  }
}
