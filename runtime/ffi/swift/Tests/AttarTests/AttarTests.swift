import Foundation
import XCTest

@testable import Attar

/// Needs a bundle with the heads `relevance`: the one that is compiled in, or the file that `ATTAR_MODEL` names.
final class AttarTests: XCTestCase {
    private func model() throws -> Model {
        if let path = ProcessInfo.processInfo.environment["ATTAR_MODEL"] { return try Model(path: path, verify: true) }
        return try Model.compiledIn()
    }

    func testErrorsSayWhatIsWrong() {
        XCTAssertThrowsError(try Model(path: "missing.attar")) { error in
            XCTAssertEqual((error as? AttarError)?.status, .notFound)
            XCTAssertTrue(error.localizedDescription.contains("missing.attar"))
        }
        XCTAssertThrowsError(try Model(data: Data(repeating: 7, count: 1000))) { error in
            XCTAssertEqual((error as? AttarError)?.status, .model)
        }
    }

    func testScoresAgree() throws {
        let session = try model().session(threads: 2)
        let question = "How much current does the board need?"
        let passages = ["The board needs 3 A.", "The case is red. 🙂"]
        let relevance = try session.relevance(of: passages, to: question)
        let scores = try session.score(head: "relevance", pairs: passages.map { (question, $0) })
        for (score, value) in zip(scores, relevance) {
            XCTAssertEqual(score["relevant"]!, value, accuracy: 1e-6)
            XCTAssertEqual(score.probabilities.reduce(0, +), 1, accuracy: 1e-5)
            XCTAssertEqual(score.windows, 1)
        }
        XCTAssertEqual(try session.relevance(of: [], to: question), [])
        XCTAssertThrowsError(try session.relevance(of: [""], to: question))
    }

    func testAnswersAreCited() throws {
        let session = try model().session()
        let library = try Library()
        try library.add("# Power\n\nThe board needs a supply of 3 A.\n", source: "board.md", format: .markdown)
        XCTAssertEqual(try library.size().documents, 1)
        let reply = try library.ask("How much current does the board need?", session: session, threshold: -1)
        XCTAssertEqual(reply.answers.first?.source, "board.md")
        XCTAssertEqual(reply.answers.first?.line, 3)
    }
}
