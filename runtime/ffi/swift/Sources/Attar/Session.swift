import CAttar

/// What a head says of one pair.
public struct Score: Equatable, Sendable {
    /// The head.
    public let head: Head
    /// A probability for each label of the head.
    public let probabilities: [Float]
    /// The head's outputs before temperature and soft-max.
    public let logits: [Float]
    /// How many windows the pair was split into because it was too long; 1 if it was not.
    public let windows: Int

    /// The most probable label.
    public var label: String {
        var best = 0
        for index in probabilities.indices where probabilities[index] > probabilities[best] { best = index }
        return head.labels[best]
    }

    /// The probability of a label, if the head has it.
    public subscript(label: String) -> Float? {
        head.labels.firstIndex(of: label).map { probabilities[$0] }
    }
}

/// Scores pairs of texts. Calls from several threads wait for each other: for parallel work use a session for each thread, or one
/// with several threads.
public final class Session: @unchecked Sendable {
    let handle: OpaquePointer
    private let heads: [Head]

    init(model: Model, threads: Int) throws {
        guard let count = UInt32(exactly: threads) else {
            throw AttarError(status: .argument, message: "threads is \(threads), expected 0 to 256")
        }
        var options = attar_session_options()
        options.struct_size = MemoryLayout<attar_session_options>.size
        options.threads = count
        var handle: OpaquePointer?
        try check(attar_session_create(model.handle, &options, &handle))
        self.handle = handle!
        heads = model.heads
    }

    /// Scores pairs with the head of that name: premise and hypothesis for `nli` and `rte`, question and passage for `relevance`.
    public func score(head name: String, pairs: [(String, String)]) throws -> [Score] {
        guard let head = heads.first(where: { $0.name == name }) else {
            let names = heads.map(\.name).joined(separator: ", ")
            throw AttarError(status: .notFound, message: "no head \"\(name)\"; the model has \(names)")
        }
        let labels = head.labels.count
        var probabilities = [Float](repeating: 0, count: pairs.count * labels)
        var logits = probabilities
        var windows = [UInt32](repeating: 0, count: pairs.count)
        try withTexts(pairs.flatMap { [$0.0, $0.1] }) { texts in
            let lent = stride(from: 0, to: texts.count, by: 2).map { attar_pair(a: texts[$0], b: texts[$0 + 1]) }
            try probabilities.withUnsafeMutableBufferPointer { probabilities in
                try logits.withUnsafeMutableBufferPointer { logits in
                    try windows.withUnsafeMutableBufferPointer { windows in
                        var scores = attar_scores()
                        scores.struct_size = MemoryLayout<attar_scores>.size
                        scores.probabilities = probabilities.baseAddress
                        scores.probabilities_length = probabilities.count
                        scores.logits = logits.baseAddress
                        scores.logits_length = logits.count
                        scores.windows = windows.baseAddress
                        scores.windows_length = windows.count
                        try check(attar_session_score(handle, name, lent, lent.count, &scores))
                    }
                }
            }
        }
        return pairs.indices.map { pair in
            let range = pair * labels..<(pair + 1) * labels
            return Score(
                head: head, probabilities: Array(probabilities[range]), logits: Array(logits[range]),
                windows: Int(windows[pair]))
        }
    }

    /// The probability, for each passage, that it answers the question.
    public func relevance(of passages: [String], to question: String) throws -> [Float] {
        var relevance = [Float](repeating: 0, count: passages.count)
        try withTexts([question] + passages) { texts in
            try check(
                attar_session_relevance(
                    handle, texts[0], Array(texts.dropFirst()), passages.count, &relevance, passages.count))
        }
        return relevance
    }

    deinit {
        var last: OpaquePointer? = handle
        attar_session_destroy(&last)
    }
}
