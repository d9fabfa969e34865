package dev.attar

import java.nio.ByteBuffer

/**
 * The native methods, implemented in `runtime/ffi/src/jni.rs`. Handles are addresses: only [Handle] keeps them, and passes each to
 * its own kind of method only.
 */
internal object Native {
    init {
        System.loadLibrary("attar_ffi")
    }

    external fun version(): String

    external fun modelOpen(path: String, verify: Boolean): Long
    external fun modelOf(buffer: ByteBuffer, verify: Boolean): Long
    external fun modelDefault(verify: Boolean): Long
    external fun modelHeads(model: Long): Array<String>
    external fun modelLabels(model: Long, head: Int): Array<String>
    external fun modelFree(model: Long)

    external fun sessionNew(model: Long, threads: Int): Long
    external fun sessionScore(
        session: Long,
        head: String,
        a: Array<String>,
        b: Array<String>,
        probabilities: FloatArray,
        logits: FloatArray,
        windows: IntArray,
    )
    external fun sessionRelevance(session: Long, question: String, passages: Array<String>, relevance: FloatArray)
    external fun sessionFree(session: Long)

    external fun libraryOpen(path: String): Long
    external fun libraryInMemory(): Long
    external fun libraryUpdate(library: Long, paths: Array<String>, counts: LongArray): Array<String>
    external fun libraryAddText(library: Long, source: String, format: Int, text: String)
    external fun librarySize(library: Long, size: LongArray)
    external fun libraryAsk(
        library: Long,
        session: Long,
        question: String,
        top: Int,
        candidates: Int,
        threshold: Float,
    ): Long
    external fun libraryFree(library: Long)

    external fun resultsNoAnswer(results: Long): Float
    external fun resultsTexts(results: Long): Array<String>
    external fun resultsNumbers(results: Long, lines: LongArray, scores: FloatArray)
    external fun resultsFree(results: Long)
}
