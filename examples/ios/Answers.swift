import Attar
import Foundation

/// Answers questions from the user's notes. One for the whole app.
actor Answers {
    private let session: Session
    private let library: Library

    init() throws {
        guard let url = Bundle.main.url(forResource: "attar-base", withExtension: "attar") else {
            throw CocoaError(.fileNoSuchFile)
        }
        // Mapped, not read: pages are loaded when they are used, and can be dropped when memory is short.
        let model = try Model(data: Data(contentsOf: url, options: .alwaysMapped))
        session = try model.session(threads: 2)
        let folder = try FileManager.default.url(
            for: .applicationSupportDirectory, in: .userDomainMask, appropriateFor: nil, create: true)
        library = try Library(path: folder.appendingPathComponent("notes.library").path)
    }

    /// Adds a note, or replaces the one of that name.
    func note(_ name: String, markdown: String) throws {
        try library.add(markdown, source: name, format: .markdown)
    }

    /// Answers a question; no answers mean that the notes do not say.
    func ask(_ question: String) throws -> Reply {
        try library.ask(question, session: session, top: 3)
    }
}
