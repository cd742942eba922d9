import Program
import Testing

@Suite struct MetadataTests {
  @Test func readsWhatItWrote() {
    var metadata = Metadata()
    metadata["a"] = "line\nline\t\"quoted\" \\ back\u{1}"
    metadata["ü"] = "😀"
    metadata["a b"] = ""
    #expect(Metadata(json: metadata.json) == metadata)
    metadata["a"] = nil
    #expect(metadata.entries.map(\.key) == ["ü", "a b"])
  }

  @Test func readsOtherWritersJSON() {
    let json = Metadata(json: Array(#" { "k" : "\u00e9\ud83d\ude00\/" , "l":"" } "#.utf8))
    #expect(json?["k"] == "é😀/")
    #expect(Metadata(json: Array("{}".utf8))?.entries == [])
  }

  @Test(arguments: [
    "", "{", "{}x", #"{"a"}"#, #"{"a":1}"#, #"{"a":"b",}"#, #"{"a":"b""#, #"{"a":"\q"}"#, #"{"a":"\ud800"}"#,
    #"{"a":"b","a":"c"}"#, #"{"a":"\u12"}"#, "[]", "{\"a\":\"\n\"}",
  ])
  func refusesWhatIsNoFlatObject(text: String) {
    #expect(Metadata(json: Array(text.utf8)) == nil)
  }
}
