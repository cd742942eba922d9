// Times the exact search on random problems of a growing number of sites; the size is 100 sites of 49 choices.
//
//     swift run -c release qcc-search-bench
import Search
import Support

func problem(sites: Int, choices: Int, budgets: Int, seed: UInt64) -> AssignmentProblem {
  var random = SeededRandom(seed: seed)
  // Like layers: scores fall by about a factor of four with every bit, sizes spread over two orders of magnitude.
  return AssignmentProblem(
    sites: (0..<sites).map { site in
      let size = Double(1 + random.below(100)), sensitivity = 1 + 9 * random.unit()
      return .init(
        "site\(site)",
        (0..<choices).map { choice in
          let bits = 1 + 7 * Double(choice) / Double(choices - 1)
          let score = sensitivity * (0...Int(bits)).reduce(1.0) { product, _ in product / 4 }
          return .init(
            score: score * (1 + 0.5 * random.unit()),
            costs: (0..<budgets).map { _ in (size * bits * (1 + 0.2 * random.unit())).rounded() })
        })
    },
    budgets: (0..<budgets).map { .init("budget\($0)", Double(sites) * 50 * (3.5 + 0.2 * Double($0))) })
}

print("sites  choices  budgets  seconds  (the slowest of 5 problems)")
for (sites, choices, budgets) in [
  (20, 7, 1), (56, 14, 1), (100, 49, 1), (100, 49, 2), (200, 49, 1), (300, 14, 2),
] {
  var slowest = 0.0
  for seed in UInt64(1)...5 {
    let instance = problem(sites: sites, choices: choices, budgets: budgets, seed: seed)
    let clock = ContinuousClock(), start = clock.now
    let solution = try instance.solved(seconds: 60)
    let elapsed = clock.now - start
    precondition(solution?.isOptimal ?? true, "not solved in a minute")
    slowest = max(
      slowest, Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) * 1e-18)
  }
  print("\(sites)  \(choices)  \(budgets)  \((slowest * 1000).rounded() / 1000)")
}
