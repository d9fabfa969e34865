package com.example.attar

import android.content.Context
import dev.attar.Format
import dev.attar.Library
import dev.attar.Model
import dev.attar.Reply
import java.io.Closeable
import java.io.File
import java.io.FileInputStream
import java.nio.channels.FileChannel
import java.util.concurrent.Callable
import java.util.concurrent.Executors
import java.util.concurrent.Future

/** Answers questions from the user's notes. One for the whole app, made once and closed never or with the process. */
class Answers(context: Context) : Closeable {
    // One thread: calls on a session wait for each other anyway.
    private val worker = Executors.newSingleThreadExecutor()

    private val model = context.assets.openFd("attar-base.attar").use { asset ->
        FileInputStream(asset.fileDescriptor).use { file ->
            Model.of(file.channel.map(FileChannel.MapMode.READ_ONLY, asset.startOffset, asset.length))
        }
    }
    private val session = model.session(threads = 4)
    private val library = Library.open(File(context.filesDir, "notes.library").path)

    /** Adds a note, or replaces the one of that name. */
    fun note(name: String, markdown: String): Future<*> = worker.submit { library.add(name, markdown, Format.MARKDOWN) }

    /** Answers a question; an empty list of answers means that the notes do not say. */
    fun ask(question: String): Future<Reply> = worker.submit(Callable { library.ask(session, question, top = 3) })

    override fun close() {
        worker.shutdown()
        library.close()
        session.close()
        model.close()
    }
}
