//! The native methods of `kotlin/src/main/kotlin/dev/attar/Native.kt`.
//!
//! Handles are `Long`s there, wrapped in classes that pass each to its own kind of method only, and never after `close`. A failure is
//! thrown as `dev.attar.AttarException`. Memory safety rests on `Native` being internal to the Kotlin module.

use std::fmt::Display;

use jni::objects::{Global, JByteBuffer, JFloatArray, JIntArray, JLongArray, JObject, JObjectArray, JString, JValue};
use jni::sys::{jboolean, jfloat, jint, jlong};
use jni::{Env, EnvUnowned, jni_sig, jni_str};

use crate::argument::Versioned;
use crate::library::Library;
use crate::model::Model;
use crate::results::{AskOptions, Results};
use crate::session::{Buffers, Session};
use crate::status::{Failure, Result, Status, call};

type Strings<'l> = JObjectArray<'l, JString<'l>>;

impl From<jni::errors::Error> for Failure {
    fn from(error: jni::errors::Error) -> Self {
        Self::new(Status::Internal, format!("JNI: {error}"))
    }
}

/// The body of a native method: failures and panics become exceptions, and then the value is a default nobody sees.
fn native<'l, T: Default>(mut env: EnvUnowned<'l>, body: impl FnOnce(&mut Env<'l>) -> Result<T>) -> T {
    env.with_env(|env| -> jni::errors::Result<T> {
        match call(|| body(env)) {
            Ok(value) => Ok(value),
            Err(failure) => {
                // One that the JVM has thrown already, such as out of memory, says more than ours.
                if !env.exception_check() {
                    throw(env, &failure)?;
                }
                Ok(T::default())
            }
        }
    })
    .resolve::<jni::errors::ThrowRuntimeExAndDefault>()
}

fn throw(env: &mut Env<'_>, failure: &Failure) -> jni::errors::Result<()> {
    let message = JString::new(env, &failure.message)?;
    let arguments = [JValue::Int(failure.status as i32), JValue::Object(&message)];
    let exception =
        env.new_object(jni_str!("dev/attar/AttarException"), jni_sig!("(ILjava/lang/String;)V"), &arguments)?;
    let exception = env.cast_local::<jni::objects::JThrowable>(exception)?;
    match env.throw(exception) {
        // This is how the crate reports that the exception is pending, which is what was wanted.
        Err(jni::errors::Error::JavaException) => Ok(()),
        other => other,
    }
}

/// Gives a handle to Kotlin.
fn lend<T>(value: T) -> jlong {
    Box::into_raw(Box::new(value)) as jlong
}

/// # Safety
///
/// `handle` came from [`lend`] of the same type and is not freed during `'a`.
unsafe fn borrow<'a, T>(handle: jlong) -> Result<&'a T> {
    // SAFETY: the caller's promise; null is checked inside.
    unsafe { crate::argument::handle(handle as *const T, "the handle") }
}

/// # Safety
///
/// `handle` came from [`lend`] of the same type, and nobody uses it any more.
unsafe fn free<'l, T>(env: EnvUnowned<'l>, handle: jlong) {
    native(env, |_| {
        if handle != 0 {
            // SAFETY: the caller's promise.
            drop(unsafe { Box::from_raw(handle as *mut T) });
        }
        Ok(())
    });
}

fn string(env: &Env<'_>, value: &JString<'_>, name: impl Display) -> Result<String> {
    value.try_to_string(env).map_err(|error| Failure::argument(format!("{name}: {error}")))
}

fn strings(env: &mut Env<'_>, array: &Strings<'_>, name: &str) -> Result<Vec<String>> {
    let count = array.len(env)?;
    let mut out = Vec::with_capacity(count);
    for i in 0..count {
        // Each element is a local reference, of which a method has few: released at once.
        let text = env.with_local_frame(4, |env| -> Result<String> {
            let element: JString<'_> = array.get_element(env, i)?;
            string(env, &element, format_args!("{name}[{i}]"))
        })?;
        out.push(text);
    }
    Ok(out)
}

fn array<'l>(env: &mut Env<'l>, values: &[&str]) -> Result<JObject<'l>> {
    let empty = JString::new(env, "")?;
    let array = JObjectArray::<JString<'_>>::new(env, values.len(), &empty)?;
    for (i, value) in values.iter().enumerate() {
        env.with_local_frame(4, |env| -> Result<()> {
            let value = JString::new(env, value)?;
            Ok(array.set_element(env, i, &value)?)
        })?;
    }
    Ok(array.into())
}

/// A direct buffer, kept from the garbage collector for as long as its bytes are in use.
struct Buffer {
    data: *const u8,
    length: usize,
    _object: Global<JByteBuffer<'static>>,
}

// SAFETY: the bytes are only read; a global reference may be dropped on any thread.
unsafe impl Send for Buffer {}
// SAFETY: shared access only reads.
unsafe impl Sync for Buffer {}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the JVM gave the address and the capacity, and the buffer lives as long as the reference to it.
        unsafe { std::slice::from_raw_parts(self.data, self.length) }
    }
}

/// `modelOpen(path, verify)`.
#[unsafe(no_mangle)]
pub extern "system" fn Java_dev_attar_Native_modelOpen<'l>(
    env: EnvUnowned<'l>,
    _: JObject<'l>,
    path: JString<'l>,
    verify: jboolean,
) -> jlong {
    native(env, |env| Ok(lend(Model::new(attar::Model::open(string(env, &path, "path")?)?, verify)?)))
}

/// `modelOf(buffer, verify)`; the buffer is direct.
#[unsafe(no_mangle)]
pub extern "system" fn Java_dev_attar_Native_modelOf<'l>(
    env: EnvUnowned<'l>,
    _: JObject<'l>,
    buffer: JByteBuffer<'l>,
    verify: jboolean,
) -> jlong {
    native(env, |env| {
        let (data, length) = (env.get_direct_buffer_address(&buffer)?, env.get_direct_buffer_capacity(&buffer)?);
        if data.is_null() || length == 0 {
            return Err(Failure::new(Status::Model, "buffer: 0 bytes are no bundle"));
        }
        let buffer = Buffer { data, length, _object: env.new_global_ref(&buffer)? };
        Ok(lend(Model::new(attar::Model::from_bytes(buffer)?, verify)?))
    })
}

/// `modelDefault(verify)`.
#[unsafe(no_mangle)]
pub extern "system" fn Java_dev_attar_Native_modelDefault<'l>(
    env: EnvUnowned<'l>,
    _: JObject<'l>,
    verify: jboolean,
) -> jlong {
    native(env, |_| Ok(lend(Model::compiled_in(verify)?)))
}

/// `modelHeads(model)`.
#[unsafe(no_mangle)]
pub extern "system" fn Java_dev_attar_Native_modelHeads<'l>(
    env: EnvUnowned<'l>,
    _: JObject<'l>,
    model: jlong,
) -> JObject<'l> {
    native(env, |env| {
        // SAFETY: `Native.kt` passes a model's handle.
        let model = unsafe { borrow::<Model>(model) }?;
        let names: Vec<&str> = model.model.heads().iter().map(|head| &head.name[..]).collect();
        array(env, &names)
    })
}

/// `modelLabels(model, head)`.
#[unsafe(no_mangle)]
pub extern "system" fn Java_dev_attar_Native_modelLabels<'l>(
    env: EnvUnowned<'l>,
    _: JObject<'l>,
    model: jlong,
    head: jint,
) -> JObject<'l> {
    native(env, |env| {
        // SAFETY: `Native.kt` passes a model's handle.
        let model = unsafe { borrow::<Model>(model) }?;
        let head = usize::try_from(head).ok().and_then(|head| model.model.heads().get(head));
        let head = head.ok_or_else(|| Failure::argument("there is no such head"))?;
        let labels: Vec<&str> = head.labels.iter().map(|label| &label[..]).collect();
        array(env, &labels)
    })
}

/// `modelFree(model)`.
#[unsafe(no_mangle)]
pub extern "system" fn Java_dev_attar_Native_modelFree<'l>(env: EnvUnowned<'l>, _: JObject<'l>, model: jlong) {
    // SAFETY: `Native.kt` passes a model's handle, once.
    unsafe { free::<Model>(env, model) }
}

/// `sessionNew(model, threads)`.
#[unsafe(no_mangle)]
pub extern "system" fn Java_dev_attar_Native_sessionNew<'l>(
    env: EnvUnowned<'l>,
    _: JObject<'l>,
    model: jlong,
    threads: jint,
) -> jlong {
    native(env, |_| {
        let threads = u32::try_from(threads).map_err(|_| Failure::argument(format!("threads is {threads}")))?;
        // SAFETY: `Native.kt` passes a model's handle.
        Ok(lend(Session::new(unsafe { borrow(model) }?, threads)?))
    })
}

/// `sessionScore(session, head, a, b, probabilities, logits, windows)`; the arrays have the lengths that C's buffers have.
#[unsafe(no_mangle)]
pub extern "system" fn Java_dev_attar_Native_sessionScore<'l>(
    env: EnvUnowned<'l>,
    _: JObject<'l>,
    session: jlong,
    head: JString<'l>,
    a: Strings<'l>,
    b: Strings<'l>,
    probabilities: JFloatArray<'l>,
    logits: JFloatArray<'l>,
    windows: JIntArray<'l>,
) {
    native(env, |env| {
        // SAFETY: `Native.kt` passes a session's handle.
        let session = unsafe { borrow::<Session>(session) }?;
        let head = string(env, &head, "head")?;
        let (a, b) = (strings(env, &a, "a")?, strings(env, &b, "b")?);
        let pairs: Vec<(&str, &str)> = a.iter().zip(&b).map(|(a, b)| (&a[..], &b[..])).collect();
        let values = pairs.len() * session.labels(&head)?;
        let (mut p, mut l, mut w) = (vec![0.0; values], vec![0.0; values], vec![0; pairs.len()]);
        let buffers = Buffers { probabilities: Some(&mut p), logits: Some(&mut l), windows: Some(&mut w) };
        session.score(&head, &pairs, buffers)?;
        let w: Vec<i32> = w.into_iter().map(|windows| i32::try_from(windows).unwrap_or(i32::MAX)).collect();
        probabilities.set_region(env, 0, &p)?;
        logits.set_region(env, 0, &l)?;
        Ok(windows.set_region(env, 0, &w)?)
    });
}

/// `sessionRelevance(session, question, passages, relevance)`.
#[unsafe(no_mangle)]
pub extern "system" fn Java_dev_attar_Native_sessionRelevance<'l>(
    env: EnvUnowned<'l>,
    _: JObject<'l>,
    session: jlong,
    question: JString<'l>,
    passages: Strings<'l>,
    relevance: JFloatArray<'l>,
) {
    native(env, |env| {
        // SAFETY: `Native.kt` passes a session's handle.
        let session = unsafe { borrow::<Session>(session) }?;
        let question = string(env, &question, "question")?;
        let passages = strings(env, &passages, "passages")?;
        let passages: Vec<&str> = passages.iter().map(|passage| &passage[..]).collect();
        Ok(relevance.set_region(env, 0, &session.relevance(&question, &passages)?)?)
    });
}

/// `sessionFree(session)`.
#[unsafe(no_mangle)]
pub extern "system" fn Java_dev_attar_Native_sessionFree<'l>(env: EnvUnowned<'l>, _: JObject<'l>, session: jlong) {
    // SAFETY: `Native.kt` passes a session's handle, once.
    unsafe { free::<Session>(env, session) }
}

/// `libraryOpen(path)`.
#[unsafe(no_mangle)]
pub extern "system" fn Java_dev_attar_Native_libraryOpen<'l>(
    env: EnvUnowned<'l>,
    _: JObject<'l>,
    path: JString<'l>,
) -> jlong {
    native(env, |env| Ok(lend(Library::open(&string(env, &path, "path")?)?)))
}

/// `libraryInMemory()`.
#[unsafe(no_mangle)]
pub extern "system" fn Java_dev_attar_Native_libraryInMemory<'l>(env: EnvUnowned<'l>, _: JObject<'l>) -> jlong {
    native(env, |_| Ok(lend(Library::in_memory()?)))
}

/// `libraryUpdate(library, paths, counts)`: added, updated, unchanged, removed; returns path and reason of each skipped file in turn.
#[unsafe(no_mangle)]
pub extern "system" fn Java_dev_attar_Native_libraryUpdate<'l>(
    env: EnvUnowned<'l>,
    _: JObject<'l>,
    library: jlong,
    paths: Strings<'l>,
    counts: JLongArray<'l>,
) -> JObject<'l> {
    native(env, |env| {
        // SAFETY: `Native.kt` passes a library's handle.
        let library = unsafe { borrow::<Library>(library) }?;
        let paths = strings(env, &paths, "paths")?;
        let report = library.update(&paths.iter().map(|path| &path[..]).collect::<Vec<_>>())?;
        let numbers = report.counts();
        let values = [numbers.added, numbers.updated, numbers.unchanged, numbers.removed];
        counts.set_region(env, 0, &values.map(|value| value as jlong))?;
        let mut skipped = Vec::new();
        for i in 0..numbers.skipped {
            let (path, reason) = report.skipped(i)?;
            skipped.extend([path, reason]);
        }
        array(env, &skipped)
    })
}

/// `libraryAddText(library, source, format, text)`.
#[unsafe(no_mangle)]
pub extern "system" fn Java_dev_attar_Native_libraryAddText<'l>(
    env: EnvUnowned<'l>,
    _: JObject<'l>,
    library: jlong,
    source: JString<'l>,
    format: jint,
    text: JString<'l>,
) {
    native(env, |env| {
        // SAFETY: `Native.kt` passes a library's handle.
        let library = unsafe { borrow::<Library>(library) }?;
        library.add_text(&string(env, &source, "source")?, format, &string(env, &text, "text")?)
    });
}

/// `librarySize(library, size)`: documents and passages.
#[unsafe(no_mangle)]
pub extern "system" fn Java_dev_attar_Native_librarySize<'l>(
    env: EnvUnowned<'l>,
    _: JObject<'l>,
    library: jlong,
    size: JLongArray<'l>,
) {
    native(env, |env| {
        // SAFETY: `Native.kt` passes a library's handle.
        let (documents, passages) = unsafe { borrow::<Library>(library) }?.size()?;
        Ok(size.set_region(env, 0, &[documents as jlong, passages as jlong])?)
    });
}

/// `libraryAsk(library, session, question, top, candidates, threshold)`: results.
#[unsafe(no_mangle)]
pub extern "system" fn Java_dev_attar_Native_libraryAsk<'l>(
    env: EnvUnowned<'l>,
    _: JObject<'l>,
    library: jlong,
    session: jlong,
    question: JString<'l>,
    top: jint,
    candidates: jint,
    threshold: jfloat,
) -> jlong {
    native(env, |env| {
        // SAFETY: `Native.kt` passes a library's handle and a session's.
        let (library, session) = unsafe { (borrow::<Library>(library)?, borrow::<Session>(session)?) };
        let number = |name: &str, value: jint| {
            u32::try_from(value).map_err(|_| Failure::argument(format!("{name} is {value}, expected 0 or more")))
        };
        let options = AskOptions {
            top: number("top", top)?,
            candidates: number("candidates", candidates)?,
            threshold,
            ..AskOptions::DEFAULT
        };
        Ok(lend(library.ask(session, &string(env, &question, "question")?, &options)?))
    })
}

/// `libraryFree(library)`.
#[unsafe(no_mangle)]
pub extern "system" fn Java_dev_attar_Native_libraryFree<'l>(env: EnvUnowned<'l>, _: JObject<'l>, library: jlong) {
    // SAFETY: `Native.kt` passes a library's handle, once.
    unsafe { free::<Library>(env, library) }
}

/// `resultsNoAnswer(results)`.
#[unsafe(no_mangle)]
pub extern "system" fn Java_dev_attar_Native_resultsNoAnswer<'l>(
    env: EnvUnowned<'l>,
    _: JObject<'l>,
    results: jlong,
) -> jfloat {
    // SAFETY: `Native.kt` passes a results' handle.
    native(env, |_| Ok(unsafe { borrow::<Results>(results) }?.no_answer_probability()))
}

/// `resultsTexts(results)`: text, passage and source of each answer in turn.
#[unsafe(no_mangle)]
pub extern "system" fn Java_dev_attar_Native_resultsTexts<'l>(
    env: EnvUnowned<'l>,
    _: JObject<'l>,
    results: jlong,
) -> JObject<'l> {
    native(env, |env| {
        // SAFETY: `Native.kt` passes a results' handle.
        let answers = unsafe { borrow::<Results>(results) }?.answers();
        let texts: Vec<&str> =
            answers.iter().flat_map(|answer| [&answer.text[..], &answer.passage, &answer.source]).collect();
        array(env, &texts)
    })
}

/// `resultsNumbers(results, lines, scores)`, of each answer.
#[unsafe(no_mangle)]
pub extern "system" fn Java_dev_attar_Native_resultsNumbers<'l>(
    env: EnvUnowned<'l>,
    _: JObject<'l>,
    results: jlong,
    lines: JLongArray<'l>,
    scores: JFloatArray<'l>,
) {
    native(env, |env| {
        // SAFETY: `Native.kt` passes a results' handle.
        let answers = unsafe { borrow::<Results>(results) }?.answers();
        let (numbers, relevance): (Vec<jlong>, Vec<f32>) =
            answers.iter().map(|answer| (jlong::from(answer.line), answer.score)).unzip();
        lines.set_region(env, 0, &numbers)?;
        Ok(scores.set_region(env, 0, &relevance)?)
    });
}

/// `resultsFree(results)`.
#[unsafe(no_mangle)]
pub extern "system" fn Java_dev_attar_Native_resultsFree<'l>(env: EnvUnowned<'l>, _: JObject<'l>, results: jlong) {
    // SAFETY: `Native.kt` passes a results' handle, once.
    unsafe { free::<Results>(env, results) }
}

/// `version()`.
#[unsafe(no_mangle)]
pub extern "system" fn Java_dev_attar_Native_version<'l>(env: EnvUnowned<'l>, _: JObject<'l>) -> JObject<'l> {
    native(env, |env| Ok(JString::new(env, env!("CARGO_PKG_VERSION"))?.into()))
}
