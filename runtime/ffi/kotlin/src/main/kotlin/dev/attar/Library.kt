package dev.attar

/** How a document is read. */
public enum class Format(internal val code: Int) {
    /** Paragraphs between blank lines. */
    TEXT(0),

    /** CommonMark. */
    MARKDOWN(1),

    /** HTML. */
    HTML(2),
}

/** A file in a folder that was not read, and why. */
public data class Skipped(val path: String, val reason: String)

/** What [Library.update] did, in documents. */
public data class Report(
    val added: Long,
    val updated: Long,
    val unchanged: Long,
    val removed: Long,
    val skipped: List<Skipped>,
)

/** An answer, the passage it stands in, its document with the line (from 1) on which it begins, and its relevance (0 to 1). */
public data class Answer(
    val text: String,
    val passage: String,
    val source: String,
    val line: Long,
    val score: Float,
)

/** Answers, the best first; none if nothing was relevant enough. */
public data class Reply(val answers: List<Answer>, val noAnswerProbability: Float)

/** Documents cut into passages, with a full-text index over them. Safe to use from several threads, whose calls wait for each other. */
public class Library private constructor(address: Long) : Handle(address, Native::libraryFree) {
    /**
     * Brings the library up to date with files and folders. All or nothing. A named file that cannot be read is an [AttarException];
     * files inside a folder that are no text are skipped, and the report says so.
     */
    public fun update(vararg paths: String): Report {
        val counts = LongArray(4)
        val skipped = call { Native.libraryUpdate(it, arrayOf(*paths), counts) }
        return Report(
            added = counts[0],
            updated = counts[1],
            unchanged = counts[2],
            removed = counts[3],
            skipped = skipped.asList().chunked(2) { (path, reason) -> Skipped(path, reason) },
        )
    }

    /** Adds one document that the program holds as text, or replaces it; [source] is its name in answers. */
    public fun add(source: String, text: String, format: Format = Format.TEXT): Unit =
        call { Native.libraryAddText(it, source, format.code, text) }

    /** The number of documents. */
    public val documents: Long
        get() = size()[0]

    /** The number of passages. */
    public val passages: Long
        get() = size()[1]

    private fun size(): LongArray = LongArray(2).also { size -> call { Native.librarySize(it, size) } }

    /**
     * Answers a question with the head `relevance` of the session's model. [top] answers at most, from [candidates] passages that the
     * full-text search finds (0: the default), each with a relevance of at least [threshold] (0: the default; negative: all).
     */
    public fun ask(
        session: Session,
        question: String,
        top: Int = 0,
        candidates: Int = 0,
        threshold: Float = 0f,
    ): Reply = call { library ->
        val results = session.call { Native.libraryAsk(library, it, question, top, candidates, threshold) }
        try {
            val texts = Native.resultsTexts(results)
            val lines = LongArray(texts.size / 3)
            val scores = FloatArray(texts.size / 3)
            Native.resultsNumbers(results, lines, scores)
            val answers = lines.indices.map { Answer(texts[3 * it], texts[3 * it + 1], texts[3 * it + 2], lines[it], scores[it]) }
            Reply(answers, Native.resultsNoAnswer(results))
        } finally {
            Native.resultsFree(results)
        }
    }

    public companion object {
        /** Opens a library file, or makes an empty one where there is none. */
        public fun open(path: String): Library = Library(Native.libraryOpen(path))

        /** An empty library that is gone when it is closed. */
        public fun inMemory(): Library = Library(Native.libraryInMemory())
    }
}
