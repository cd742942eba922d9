package enum Driver {
  package static func main() {}
}
