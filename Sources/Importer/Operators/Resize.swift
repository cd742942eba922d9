import IR

let resizeOperators: [OnnxOperator] = [
  OnnxOperator(
    "Resize", [10, 11, 13, 18, 19], "resize of the last two axes: nearest and linear", importResize),
  OnnxOperator("Upsample", [7, 9], "resize by the scales; gone from operator set 10 on") {
    builder, call throws(ImportFailure) in
    guard call.opset < 10 else { throw ImportFailure("operator set 10 replaced it by Resize") }
    let scales: [Float]
    if call.opset < 9 {
      scales = try call.floats("scales") ?? []
    } else {
      guard let known = builder.constantFloats(try call.input(1)) else {
        throw ImportFailure("its scales are computed from the input's values")
      }
      scales = known
    }
    var resize = Resize()
    resize.mode = try mode(call)
    resize.coordinates = .asymmetric
    resize.rounding = .floor
    resize.size = try size(builder.shape(call.input(0)), scales)
    return try builder.emit(.resize(resize), [call.input(0)])
  },
]

private func mode(_ call: OnnxCall) throws(ImportFailure) -> Resize.Mode {
  let name = try call.string("mode", default: "nearest")
  guard let mode = Resize.Mode(rawValue: name) else {
    throw ImportFailure("mode '\(name)' is not supported", hint: "nearest and linear are")
  }
  return mode
}

/// Output height and width. A scale that does not give a whole size would place samples by itself instead of by the
/// ratio of the sizes.
private func size(_ x: Shape, _ scales: [Float]) throws(ImportFailure) -> [Int] {
  guard x.rank == 4, scales.count == 4, scales[0] == 1, scales[1] == 1, let height = x.size(2),
    let width = x.size(3)
  else {
    throw ImportFailure(
      "scales \(scales) of shape \(x) are not supported", hint: "only height and width can be resized")
  }
  var result: [Int] = []
  for (size, scale) in [(height, scales[2]), (width, scales[3])] {
    let exact = Double(size) * Double(scale), rounded = exact.rounded()
    // A scale such as 1/3 in single precision misses the whole number by a relative 2^-24.
    guard exact > 0, rounded < Double(1 << 24), rounded >= 1, abs(exact - rounded) <= rounded * 1e-6 else {
      throw ImportFailure("scale \(scale) of \(size) gives no whole size")
    }
    result.append(Int(rounded))
  }
  return result
}

private func importResize(_ builder: GraphBuilder, _ call: OnnxCall) throws(ImportFailure) -> [ValueID] {
  let x = try call.input(0)
  var resize = Resize()
  resize.mode = try mode(call)
  if call.opset == 10 {
    try call.requireInputs(2...2)
    resize.coordinates = .asymmetric
    resize.rounding = .floor
    guard let scales = builder.constantFloats(try call.input(1)) else {
      throw ImportFailure("its scales are computed from the input's values")
    }
    resize.size = try size(builder.shape(x), scales)
    return try builder.emit(.resize(resize), [x])
  }
  try call.requireInputs(1...4)
  let coordinates = try call.string("coordinate_transformation_mode", default: "half_pixel")
  switch coordinates {
  case "half_pixel": resize.coordinates = .halfPixel
  case "asymmetric": resize.coordinates = .asymmetric
  case "align_corners": resize.coordinates = .alignCorners
  case "pytorch_half_pixel": resize.coordinates = .pytorchHalfPixel
  default: throw ImportFailure("coordinate_transformation_mode '\(coordinates)' is not supported")
  }
  let rounding = try call.string("nearest_mode", default: "round_prefer_floor")
  switch rounding {
  case "round_prefer_floor": resize.rounding = .preferFloor
  case "round_prefer_ceil": resize.rounding = .preferCeil
  case "floor": resize.rounding = .floor
  case "ceil": resize.rounding = .ceil
  default: throw ImportFailure("nearest_mode '\(rounding)' is not supported")
  }
  // Only cubic interpolation and cropping read these.
  for name in ["cubic_coeff_a", "exclude_outside", "extrapolation_value"] { call.ignore(name) }
  if try call.flag("antialias") { throw ImportFailure("attribute 'antialias' is not supported") }
  if try call.string("keep_aspect_ratio_policy", default: "stretch") != "stretch" {
    throw ImportFailure("attribute 'keep_aspect_ratio_policy' is not supported")
  }
  let shape = builder.shape(x)
  var axes: [Int] = []
  for axis in try call.ints("axes") ?? Array(0..<shape.rank) { axes.append(try builder.axis(axis, x)) }
  if let sizes = call.optionalInput(3) {
    // Each size is known, or is that of an axis that stays as it is.
    var wanted = shape.extents
    guard let fact = builder.graph.operand(sizes).fact, fact.count == axes.count, shape.rank == 4 else {
      throw ImportFailure("its sizes for shape \(shape) are not known at compile time")
    }
    for (axis, size) in zip(axes, fact) {
      wanted[axis] = axis == 0 && size == .known(1) && builder.generalizesBatch ? shape[0] : size
    }
    guard wanted[0] == shape[0], wanted[1] == shape[1], let height = wanted[2].value,
      let width = wanted[3].value
    else {
      throw ImportFailure("its sizes \(Shape(wanted)) change other axes than height and width of \(shape)")
    }
    resize.size = [height, width]
  } else if let scales = call.optionalInput(2), let known = builder.constantFloats(scales) {
    guard known.count == axes.count else { throw ImportFailure("its scales are \(known)") }
    var all = Array(repeating: Float(1), count: shape.rank)
    for (axis, scale) in zip(axes, known) { all[axis] = scale }
    resize.size = try size(shape, all)
  } else {
    throw ImportFailure("its scales are computed from the input's values")
  }
  return try builder.emit(.resize(resize), [x])
}
