import Program

/// Copies an image into the scratch memory, with a border of its zero point.
struct PadStep {
  let input: Plane
  let zeroPoint: UInt8
  let top: Int
  let left: Int
  let paddedHeight: Int
  let paddedWidth: Int

  init(_ window: Instruction.Window, _ tensor: Program.Tensor) {
    input = Plane(tensor)
    zeroPoint = tensor.zeroPoint
    top = window.padTop
    left = window.padLeft
    paddedHeight = window.paddedHeight(tensor)
    paddedWidth = window.paddedWidth(tensor)
  }

  var rowBytes: Int { paddedWidth * input.storedChannels }
  var byteCount: Int { paddedHeight * rowBytes }
  var units: Int { paddedHeight }

  func run(_ memory: WorkingMemory, _ range: Range<Int>) {
    let pixelBytes = input.storedChannels
    for row in range {
      let target = memory.image + row &* rowBytes
      guard row >= top, row < top &+ input.height else {
        target.update(repeating: zeroPoint, count: rowBytes)
        continue
      }
      let source = UnsafePointer(memory.arena + (input.offset &+ (row &- top) &* input.rowStride))
      let image = target + left &* pixelBytes
      target.update(repeating: zeroPoint, count: left &* pixelBytes)
      if input.pixelStride == pixelBytes {
        image.update(from: source, count: input.width &* pixelBytes)
      } else {
        for column in 0..<input.width {
          (image + column &* pixelBytes).update(from: source + column &* input.pixelStride, count: pixelBytes)
        }
      }
      let right = paddedWidth &- left &- input.width
      (image + input.width &* pixelBytes).update(repeating: zeroPoint, count: right &* pixelBytes)
    }
  }
}
