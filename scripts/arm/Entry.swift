import Program
import Runtime

/// What a C program needs of the interpreter, here without the standard library's full runtime (Embedded Swift).
/// Reads a `.qpk` image and runs the samples that lie one after another in `inputs`, each with all inputs of the program;
/// `observe` is shown every tensor when it is complete. `outputCount` is the room for numbers before the call, and how
/// many there are after it.
/// - Returns: nil, or why the image or the counts are refused.
@_cdecl("qcc_run")
func runProgram(
  _ bytes: UnsafeRawPointer, _ count: Int, _ inputs: UnsafePointer<Float>, _ inputCount: Int,
  _ outputs: UnsafeMutablePointer<Float>, _ outputCount: UnsafeMutablePointer<Int>,
  _ observe: @convention(c) (_ tensor: Int, _ contents: UnsafePointer<UInt8>?, _ count: Int) -> Void
) -> UnsafePointer<UInt8>? {
  do throws(ProgramError) {
    // The caller holds the image until this function returns.
    let program = try Program(reading: UnsafeRawBufferPointer(start: bytes, count: count), keepAlive: {})
    let interpreter = Interpreter(program)
    var read = 0, written = 0
    repeat {
      var sample: [[Float]] = []
      for number in interpreter.inputNumbers {
        let elements = interpreter.inputCount(number)
        guard elements <= inputCount - read else {
          return StaticString("the input file is too short").utf8Start
        }
        sample.append((0..<elements).map { inputs[read + $0] })
        read += elements
      }
      if let fault = run(interpreter, sample, outputs, room: outputCount.pointee, &written, observe) {
        return fault
      }
    } while read > 0 && read < inputCount
    outputCount.pointee = written
    return interpreter.selfTest() == nil ? nil : StaticString("the self-test fails").utf8Start
  } catch {
    return error.reason.utf8Start
  }
}

private func run(
  _ interpreter: Interpreter, _ sample: [[Float]], _ outputs: UnsafeMutablePointer<Float>, room: Int,
  _ written: inout Int,
  _ observe: @convention(c) (Int, UnsafePointer<UInt8>?, Int) -> Void
) -> UnsafePointer<UInt8>? {
  do throws(RunError) {
    let results = try interpreter.run(sample) { tensor, contents in
      contents.withUnsafeBufferPointer { observe(tensor, $0.baseAddress, $0.count) }
    }
    for result in results {
      guard result.count <= room - written else { return StaticString("too many outputs").utf8Start }
      for value in result {
        outputs[written] = value
        written += 1
      }
    }
    return nil
  } catch {
    return error.reason.utf8Start
  }
}
