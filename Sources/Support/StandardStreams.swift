import Glibc

/// All of standard input.
/// - Throws: `malformedInput` when it is longer than `limit` bytes.
package func readStandardInput(limit: Int) throws(CompilerError) -> [UInt8] {
  var result: [UInt8] = [], block = [UInt8](repeating: 0, count: 1 << 16)
  while true {
    let count = read(STDIN_FILENO, &block, block.count)
    if count < 0, errno == EINTR { continue }
    guard count >= 0 else {
      throw CompilerError("cannot read: \(systemMessage())", at: "<stdin>", status: .inputOutput)
    }
    if count == 0 { return result }
    result += block[..<count]
    guard result.count <= limit else { throw .malformed("longer than \(limit) bytes", at: "<stdin>") }
  }
}

package func writeStandardOutput(_ text: String) throws(CompilerError) {
  let bytes = Array(text.utf8)
  var offset = 0
  while offset < bytes.count {
    // Not empty, so the base exists.
    let count = bytes.withUnsafeBytes { write(STDOUT_FILENO, $0.baseAddress! + offset, $0.count - offset) }
    if count < 0, errno == EINTR { continue }
    guard count > 0 else {
      throw CompilerError("cannot write: \(systemMessage())", at: "<stdout>", status: .inputOutput)
    }
    offset += count
  }
}
