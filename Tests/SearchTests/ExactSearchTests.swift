import Search
import Support
import Testing

@Suite struct ExactSearchTests {
  /// Equal to the best of all assignments: one to three budgets, with and without pairs, feasible or not.
  @Test(arguments: UInt64(0)..<300)
  func equalsBruteForce(seed: UInt64) throws {
    let problem = randomProblem(
      seed: seed, sites: 1...6, choices: 1...5, budgets: Int(seed % 4), pairs: seed % 3 == 0 ? 3 : 0,
      tightness: Double(seed % 7) / 7 - 0.1)
    let expected = bruteForce(problem), found = try problem.solved()
    #expect((found == nil) == (expected == nil))
    guard let expected, let found else { return }
    #expect(problem.isFeasible(found.choices))
    #expect(found.isOptimal)
    #expect(abs(found.score - expected.score) <= 1e-6 * max(abs(expected.score), 1))
    #expect(found.score == problem.score(found.choices))
  }

  /// Equal to dynamic programming where that applies, on sizes beyond brute force.
  @Test(arguments: UInt64(0)..<40)
  func equalsDynamicProgramming(seed: UInt64) throws {
    let problem = randomProblem(
      seed: seed + 1000, sites: 20...60, choices: 2...14, budgets: 1, tightness: Double(seed % 10) / 12)
    let expected = try #require(knapsackSolution(problem)), found = try #require(try problem.solved())
    #expect(problem.isFeasible(expected))
    #expect(abs(found.score - problem.score(expected)) <= 1e-6 * max(found.score, 1))
  }

  @Test func theSameProblemGivesTheSameAssignment() throws {
    // All choices alike: ties everywhere.
    let choice = AssignmentProblem.Choice(score: 1, costs: [1])
    let problem = AssignmentProblem(
      sites: (0..<20).map { .init("site\($0)", [choice, choice, choice]) }, budgets: [.init("cost", 30)])
    let found = try problem.solved()
    #expect(found?.choices == Array(repeating: 0, count: 20))
    let random = randomProblem(seed: 7, sites: 30...30, choices: 8...8, budgets: 2, pairs: 5)
    #expect(try random.solved() == (try random.solved()))
  }

  @Test(arguments: UInt64(0)..<40)
  func theCheapestAssignmentIsTheCheapest(seed: UInt64) throws {
    let problem = randomProblem(seed: seed + 5000, sites: 2...5, choices: 2...4, budgets: 2, pairs: 2)
    let found = try problem.cheapest(0)
    let expected = bruteForce(problem.minimizing(0))
    #expect((found == nil) == (expected == nil))
    if let found, let expected { #expect(abs(found.costs[0] - expected.score) < 1e-6) }
  }

  @Test func emptyAndTrivialProblems() throws {
    #expect(try AssignmentProblem(sites: [], budgets: []).solved()?.choices == [])
    let single = AssignmentProblem(
      sites: [.init("a", [.init(score: 3, costs: [5])])], budgets: [.init("cost", 5)])
    #expect(try single.solved()?.choices == [0])
    var tooSmall = single
    tooSmall.budgets[0].limit = 4
    #expect(try tooSmall.solved() == nil)
  }
}
