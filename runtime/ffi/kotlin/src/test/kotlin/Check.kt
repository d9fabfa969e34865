import dev.attar.AttarException
import dev.attar.Format
import dev.attar.Library
import dev.attar.Model
import dev.attar.Status
import dev.attar.attarVersion
import java.io.File
import java.io.RandomAccessFile
import java.nio.ByteBuffer
import java.nio.channels.FileChannel
import kotlin.concurrent.thread
import kotlin.math.abs

/** Goes through the whole wrapper with the bundle named on the command line; ends with 1 at the first claim that is not true. */
fun main(arguments: Array<String>) {
    val bundle = arguments[0]
    claim("the version is there", attarVersion.isNotEmpty())
    fails("a missing bundle", Status.NOT_FOUND) { Model.open("$bundle.missing") }
    fails("no bundle", Status.MODEL) { Model.of(ByteBuffer.wrap(ByteArray(1000) { 7 })) }
    fails("no bytes", Status.MODEL) { Model.of(ByteBuffer.allocateDirect(0)) }

    val model = Model.open(bundle, verify = true)
    val head = model.head("relevance")
    claim("relevance has two labels", head.labels == listOf("not_relevant", "relevant"))
    fails("a head that is not there", Status.NOT_FOUND) { model.head("no such head") }

    val question = "How much current does the board need? 🙂"
    val passages = listOf("The board needs 3 A.", "The case is red, naïve and 漢字.", "a ".repeat(5000))
    val session = model.session(threads = 2)
    val relevance = session.relevance(question, passages)
    val scores = session.score("relevance", passages.map { question to it })
    claim("one score a passage", scores.size == 3 && relevance.size == 3)
    for ((score, p) in scores.zip(relevance.asList())) {
        claim("probabilities sum to 1", abs(score.probabilities.sum() - 1f) < 1e-5f)
        claim("both ways agree", abs(score["relevant"] - p) < 1e-6f)
        claim("the label is the most probable", score[score.label] >= 0.5f)
    }
    claim("only the long one is split", scores[0].windows == 1 && scores[2].windows > 1)
    claim("nothing gives nothing", session.relevance(question, listOf()).isEmpty())
    fails("an empty text", Status.INPUT) { session.relevance(question, listOf("")) }

    RandomAccessFile(bundle, "r").use { file ->
        val map = file.channel.map(FileChannel.MapMode.READ_ONLY, 0, file.length())
        for (buffer in listOf<ByteBuffer>(map, ByteBuffer.wrap(File(bundle).readBytes()))) {
            Model.of(buffer, verify = true).use { other ->
                System.gc()
                other.session().use { claim("from memory it is the same", it.relevance(question, passages) contentEquals relevance) }
            }
        }
    }

    val folder = kotlin.io.path.createTempDirectory("attar").toFile()
    try {
        File(folder, "board.md").writeText("# Power\n\nThe board needs a supply of 3 A. It is white.\n")
        File(folder, "noise.bin").writeBytes(ByteArray(64) { (it * 37).toByte() })
        Library.open(File(folder, "notes.library").path).use { library ->
            val report = library.update(folder.path)
            claim("one document is added", report.added == 1L && library.documents == 1L && library.passages >= 1L)
            claim("what is no text is reported", report.skipped.any { it.path.endsWith("noise.bin") && it.reason.isNotEmpty() })
            claim("nothing changes twice", library.update(folder.path).run { added == 0L && unchanged == 1L })
            library.add("memo", "The board is green.", Format.TEXT)
            val reply = library.ask(session, "How much current does the board need?", top = 2, threshold = -1f)
            claim("all answers are given", reply.answers.isNotEmpty() && reply.answers.size <= 2)
            claim("the answer is cited", reply.answers.any { it.source.endsWith("board.md") && it.line == 3L && it.text in it.passage })
            claim("no answer is a probability", reply.noAnswerProbability in 0f..1f)
            claim("no answer is no error", library.ask(session, "zebra").answers.isEmpty())
            fails("a question without words", Status.INPUT) { library.ask(session, "?!") }
            fails("a missing folder", Status.NOT_FOUND) { library.update("${folder.path}/missing") }
        }
    } finally {
        folder.deleteRecursively()
    }

    // The session outlives its model, and threads may share it while another closes it.
    model.close()
    model.close()
    val workers = List(4) {
        thread {
            try {
                repeat(50) { claim("threads agree", session.relevance(question, passages.take(2))[0] == relevance[0]) }
            } catch (_: IllegalStateException) {
                // Closed by the main thread, as intended.
            }
        }
    }
    Thread.sleep(20)
    session.close()
    workers.forEach(Thread::join)
    val closed = runCatching { session.relevance(question, passages) }.exceptionOrNull()
    claim("a closed session says so", closed is IllegalStateException && closed.message == "Session is closed")
    println("kotlin: $claims claims hold")
}

private var claims = 0

private fun claim(text: String, holds: Boolean) {
    if (!holds) {
        System.err.println("kotlin: not true: $text")
        Runtime.getRuntime().halt(1)
    }
    claims++
}

private fun fails(what: String, status: Status, body: () -> Unit) {
    val error = runCatching(body).exceptionOrNull()
    val holds = error is AttarException && error.status == status && !error.message.isNullOrEmpty()
    if (!holds) System.err.println("kotlin: $what gave $error")
    claim("$what is $status", holds)
}
