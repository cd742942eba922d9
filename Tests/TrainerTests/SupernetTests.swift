import IR
import Numerics
import Support
import Testing
import Trainer

@Suite("Sub-networks of a supernet")
struct SupernetTests {
  @Test func drawsAreLegalAndReachEveryForm() throws {
    let network = try SmallNetwork(elastic: true)
    let supernet = network.supernet
    #expect(supernet.widths == [8, 4, 2] && supernet.styles.count == 4)
    var random = SeededRandom(seed: 5), seen = supernet.sites.map { _ in Set<Int>() }
    for _ in 0..<400 {
      for breadth in [Supernet.Breadth.widest, .any, .narrowest] {
        let drawn = supernet.draw(breadth, &random)
        for (index, site) in supernet.sites.enumerated() {
          let form = try #require(drawn[site.id])
          #expect(site.legal.contains(form))
          let width = site.forms[form].width.storageBits
          let widths = site.legal.map { site.forms[$0].width.storageBits }
          if breadth == .widest { #expect(width == widths.max()) }
          if breadth == .narrowest { #expect(width == widths.min()) }
          if breadth == .any { seen[index].insert(form) }
        }
      }
    }
    for (index, site) in supernet.sites.enumerated() { #expect(seen[index] == Set(site.legal)) }
  }

  /// Single draws scatter around the average.
  @Test func averagesAreThoseAskedFor() throws {
    let supernet = try SmallNetwork(elastic: true).supernet
    let free = supernet.sites.filter { $0.role == .weight && $0.widths.count > 1 }
    let total = Double(free.reduce(0) { $0 + $1.elements })
    for asked in [2.5, 4, 6.5] {
      var random = SeededRandom(seed: 3), sum = 0.0
      let draws = 3000
      for _ in 0..<draws {
        let drawn = supernet.draw(.average(asked...asked), &random)
        for site in supernet.sites {
          let form = try #require(drawn[site.id])
          #expect(site.legal.contains(form))
        }
        for site in free {
          let width = site.forms[drawn[site.id] ?? 0].width.storageBits
          sum += Double(width * site.elements) / total
        }
      }
      #expect(abs(sum / Double(draws) - asked) < 0.1, "\(asked): \(sum / Double(draws))")
    }
  }

  @Test func pinnedSitesKeepTheirWidth() throws {
    let network = try SmallNetwork(elastic: true)
    let pinned = network.supernet.sites.filter { $0.legal.count < $0.forms.count }
    #expect(pinned.count == 4, "the first and the last layer's weights and inputs")
    for site in pinned { #expect(site.legal.allSatisfy { site.forms[$0].width.storageBits == 8 }) }
  }

  @Test func uniformTakesTheStyleAndTheNextWiderForm() throws {
    let supernet = try SmallNetwork(elastic: true).supernet
    for style in supernet.styles {
      for bits in [8, 4, 3, 2] {
        let forms = supernet.uniform(style, weightBits: bits, activationBits: bits)
        for site in supernet.sites {
          let form = site.forms[try #require(forms[site.id])]
          let isPinned = site.legal.count < site.forms.count
          #expect(form.width.storageBits == (isPinned ? 8 : bits == 3 ? 4 : bits))
          #expect(form.symmetry == (site.role == .weight ? style.weights : style.activations))
          if site.role == .weight { #expect(form.granularity == style.granularity) }
        }
      }
    }
  }
}
