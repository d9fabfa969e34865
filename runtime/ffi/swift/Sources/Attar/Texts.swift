import CAttar

extension String {
    /// A copy of text that a handle lends.
    init(_ text: attar_text) {
        guard let data = text.data, text.length > 0 else {
            self = ""
            return
        }
        let bytes = UnsafeRawBufferPointer(start: data, count: text.length)
        self = String(decoding: bytes, as: UTF8.self)
    }
}

/// Lends strings to C for the duration of `body`.
func withTexts<R>(_ strings: [String], _ body: ([attar_text]) throws -> R) rethrows -> R {
    var bytes: [CChar] = []
    var ends: [Int] = []
    ends.reserveCapacity(strings.count)
    for string in strings {
        bytes.append(contentsOf: string.utf8.lazy.map { CChar(bitPattern: $0) })
        ends.append(bytes.count)
    }
    return try bytes.withUnsafeBufferPointer { buffer in
        var start = 0
        let texts: [attar_text] = ends.map { end in
            defer { start = end }
            return attar_text(data: buffer.baseAddress.map { $0 + start }, length: end - start)
        }
        return try body(texts)
    }
}
