import CAttar

/// An answer to a question.
public struct Answer: Equatable, Sendable {
    /// The sentence or sentences that answer.
    public let text: String
    /// The passage that they stand in.
    public let passage: String
    /// The document, as it was named when it was added.
    public let source: String
    /// The line of the document on which the answer begins, counted from 1.
    public let line: Int
    /// The relevance of the answer to the question, 0 to 1.
    public let score: Float
}

/// Answers, the best first; none if nothing was relevant enough.
public struct Reply: Equatable, Sendable {
    public let answers: [Answer]
    public let noAnswerProbability: Float
}

/// A file in a folder that was not read, and why.
public struct Skipped: Equatable, Sendable {
    public let path: String
    public let reason: String
}

/// What an update did, in documents.
public struct Report: Equatable, Sendable {
    public let added: Int
    public let updated: Int
    public let unchanged: Int
    public let removed: Int
    public let skipped: [Skipped]
}

/// Documents cut into passages, with a full-text index over them. Calls from several threads wait for each other.
public final class Library: @unchecked Sendable {
    /// How a document is read.
    public enum Format: Int32, Sendable {
        case text = 0
        case markdown = 1
        case html = 2
    }

    let handle: OpaquePointer

    /// Opens a library file, or makes an empty one where there is none.
    public init(path: String) throws {
        var handle: OpaquePointer?
        try check(attar_library_open(path, &handle))
        self.handle = handle!
    }

    /// An empty library that lives as long as this object.
    public init() throws {
        var handle: OpaquePointer?
        try check(attar_library_in_memory(&handle))
        self.handle = handle!
    }

    /// Brings the library up to date with files and folders. All or nothing. A named file that cannot be read is an error; files
    /// inside a folder that are no text are skipped, and the report says so.
    @discardableResult
    public func update(_ paths: [String]) throws -> Report {
        var report: OpaquePointer?
        defer { attar_report_destroy(&report) }
        // Every path with its NUL, one after the other; then a pointer to each.
        let bytes = paths.flatMap { Array($0.utf8CString) }
        try bytes.withUnsafeBufferPointer { buffer in
            var start = 0
            let pointers: [UnsafePointer<CChar>?] = paths.map { path in
                defer { start += path.utf8.count + 1 }
                return buffer.baseAddress.map { $0 + start }
            }
            try check(attar_library_update(handle, pointers, pointers.count, &report))
        }
        var counts = attar_counts()
        counts.struct_size = MemoryLayout<attar_counts>.size
        try check(attar_report_counts(report, &counts))
        let skipped: [Skipped] = try (0..<counts.skipped).map { index in
            var path = attar_text()
            var reason = attar_text()
            try check(attar_report_skipped(report, index, &path, &reason))
            return Skipped(path: String(path), reason: String(reason))
        }
        return Report(
            added: counts.added, updated: counts.updated, unchanged: counts.unchanged, removed: counts.removed,
            skipped: skipped)
    }

    /// Adds one document that the program holds as text, or replaces it; `source` is its name in answers.
    public func add(_ text: String, source: String, format: Format = .text) throws {
        try withTexts([source, text]) { texts in
            try check(attar_library_add_text(handle, texts[0], format.rawValue, texts[1]))
        }
    }

    /// The number of documents and of passages.
    public func size() throws -> (documents: Int, passages: Int) {
        var documents = 0
        var passages = 0
        try check(attar_library_size(handle, &documents, &passages))
        return (documents, passages)
    }

    /// Answers a question with the head `relevance` of the session's model: `top` answers at most, from `candidates` passages that
    /// the full-text search finds (0: the default), each with a relevance of at least `threshold` (0: the default; negative: all).
    public func ask(
        _ question: String, session: Session, top: UInt32 = 0, candidates: UInt32 = 0, threshold: Float = 0
    ) throws -> Reply {
        var options = attar_ask_options()
        options.struct_size = MemoryLayout<attar_ask_options>.size
        options.top = top
        options.candidates = candidates
        options.threshold = threshold
        var results: OpaquePointer?
        defer { attar_results_destroy(&results) }
        try withTexts([question]) { texts in
            try check(attar_library_ask(handle, session.handle, texts[0], &options, &results))
        }
        let answers: [Answer] = try (0..<attar_results_count(results)).map { index in
            var answer = attar_answer()
            answer.struct_size = MemoryLayout<attar_answer>.size
            try check(attar_results_answer(results, index, &answer))
            return Answer(
                text: String(answer.text), passage: String(answer.passage), source: String(answer.source),
                line: Int(answer.line), score: answer.score)
        }
        return Reply(answers: answers, noAnswerProbability: attar_results_no_answer_probability(results))
    }

    deinit {
        var last: OpaquePointer? = handle
        attar_library_destroy(&last)
    }
}
