/// Why a program cannot be trusted, and where.
package struct ProgramError: Error, Sendable {
  package enum Place: Hashable, Sendable {
    /// A byte of the file, where known.
    case file(byte: Int?)
    case section(SectionID)
    case tensor(Int)
    case instruction(Int)
    case golden(Int)
  }
  package var reason: StaticString
  package var place: Place
  /// The name of the tensor or instruction, where it has one.
  package var name: Name

  package init(_ reason: StaticString, _ place: Place, name: Name = Name(utf8: [])) {
    self.reason = reason
    self.place = place
    self.name = name
  }
}

#if !hasFeature(Embedded)
  extension ProgramError: CustomStringConvertible {
    /// `instruction 3 'conv1': the weights lie outside the data section`; the file's name is the caller's to
    /// add.
    package var description: String {
      let quoted = name.utf8.isEmpty ? "" : " '\(name)'"
      return switch place {
      case .file(nil): "\(reason)"
      case .file(let byte?): "byte \(byte): \(reason)"
      case .section(let id): "section \(id): \(reason)"
      case .tensor(let index): "tensor \(index)\(quoted): \(reason)"
      case .instruction(let index): "instruction \(index)\(quoted): \(reason)"
      case .golden(let index): "self-test vector \(index): \(reason)"
      }
    }
  }
#endif
