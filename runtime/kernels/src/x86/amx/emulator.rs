//! AMX on CPUs without it, for tests: a handler of SIGILL that carries out the six instructions that the kernel is made of.
//!
//! The kernel runs as it is; each of its AMX instructions traps, is decoded, carried out on this thread's emulated registers as
//! Intel's manual defines it (Software Developer's Manual, volumes 2A and 2B) and skipped. What the CPU would answer with a
//! fault (a configuration that is none, registers whose sizes do not fit) is noted instead, and fails the test. On a CPU that has
//! AMX and permits it, nothing traps and the CPU itself is tested.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use decode::{Instruction, Place};
use state::{Fault, State};

pub(super) mod decode;
pub(super) mod state;
mod tests;

thread_local! {
    /// Without a destructor and with a constant beginning, so that a signal handler may use it.
    static STATE: UnsafeCell<State> = const { UnsafeCell::new(State::NEW) };
}

static INSTALLED: AtomicBool = AtomicBool::new(false);
/// Instructions carried out, in all threads.
static COUNT: AtomicUsize = AtomicUsize::new(0);
/// The first fault of any thread, or 0.
static FAULT: AtomicU8 = AtomicU8::new(0);
/// Whether `tdpbusd` is to be wrong: pairs of products saturate to 16 bits, as `vpmaddubsw` does.
static SATURATES: AtomicBool = AtomicBool::new(false);

/// Whether AMX instructions can be executed in this process, by the CPU or by the emulator.
pub(super) fn installed() -> bool {
    INSTALLED.load(Ordering::SeqCst)
}

/// What an emulated run came to.
#[derive(Debug)]
pub(super) struct Run<T> {
    pub result: T,
    pub instructions: usize,
    pub fault: Option<Fault>,
}

/// Runs `body`, whose AMX instructions are carried out, on this thread and those it starts. One at a time in a process.
pub(super) fn run<T>(saturates: bool, body: impl FnOnce() -> T) -> Run<T> {
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    install();
    COUNT.store(0, Ordering::SeqCst);
    FAULT.store(0, Ordering::SeqCst);
    SATURATES.store(saturates, Ordering::SeqCst);
    let result = body();
    SATURATES.store(false, Ordering::SeqCst);
    let run =
        Run { result, instructions: COUNT.load(Ordering::SeqCst), fault: Fault::of(FAULT.load(Ordering::SeqCst)) };
    drop(alone);
    run
}

/// Whether this thread's tile registers are configured.
pub(super) fn configured() -> bool {
    // Volatile, since the compiler does not know that instructions that touch no memory write the state here.
    // SAFETY: the handler, which alone writes the state, is not running on this thread now.
    STATE.with(|state| unsafe { state.get().read_volatile() }).configured()
}

fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: all zeros is a valid `sigaction`.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handle as *const () as usize;
        // The handler's frame goes where the thread's stack is: alternate stacks may be small.
        action.sa_flags = libc::SA_SIGINFO;
        // SAFETY: `handle` has the signature that SA_SIGINFO asks for and calls nothing that a handler may not.
        let result = unsafe { libc::sigaction(libc::SIGILL, &action, std::ptr::null_mut()) };
        assert_eq!(result, 0, "SIGILL's handler cannot be set");
        INSTALLED.store(true, Ordering::SeqCst);
    });
}

/// Carries out the instruction that trapped; for one that is not of the six, the program ends as it would have.
extern "C" fn handle(_signal: libc::c_int, _info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: SA_SIGINFO's third argument is this thread's context, ours until the handler returns.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let at = registers[libc::REG_RIP as usize] as *const u8;
    // SAFETY: the instruction that trapped was fetched from there. The longest of the six has 10 bytes, and another may follow
    // the end of its page by fewer: what begins as VEX does has at least 5, the last of which tell how many follow.
    let bytes = |count: usize| unsafe { std::slice::from_raw_parts(at, count) };
    let Some((instruction, length)) = Instruction::decode(bytes) else {
        // SAFETY: setting the default action back is always possible; the instruction then traps again, and ends the program.
        unsafe { libc::signal(libc::SIGILL, libc::SIG_DFL) };
        return;
    };
    let address = |place: Place| place.address(|number| registers[GENERAL[number]] as u64, at as u64 + length as u64);
    let saturates = SATURATES.load(Ordering::SeqCst);
    let carried_out = STATE.with(|state| {
        // SAFETY: the thread is in the handler, so nothing else uses its state; memory is as the kernel under test says, which
        // the CPU would have read and written alike.
        unsafe {
            let state = &mut *state.get();
            match instruction {
                Instruction::LoadConfig(place) => state.load_config(&*(address(place).0 as *const [u8; 64])),
                Instruction::Release => {
                    *state = State::NEW;
                    Ok(())
                }
                Instruction::Zero(tile) => state.zero(tile),
                Instruction::Load(tile, place) => {
                    let (base, stride) = address(place);
                    state.load(tile, base as *const u8, stride as isize)
                }
                Instruction::Store(tile, place) => {
                    let (base, stride) = address(place);
                    state.store(tile, base as *mut u8, stride as isize)
                }
                Instruction::Multiply(c, a, b) => state.multiply(c, a, b, saturates),
            }
        }
    });
    COUNT.fetch_add(1, Ordering::SeqCst);
    if let Err(fault) = carried_out {
        let _ = FAULT.compare_exchange(0, fault as u8, Ordering::SeqCst, Ordering::SeqCst);
    }
    registers[libc::REG_RIP as usize] += length as i64;
}

/// Where the context has the general registers, in the order of their numbers.
const GENERAL: [usize; 16] = [
    libc::REG_RAX as usize,
    libc::REG_RCX as usize,
    libc::REG_RDX as usize,
    libc::REG_RBX as usize,
    libc::REG_RSP as usize,
    libc::REG_RBP as usize,
    libc::REG_RSI as usize,
    libc::REG_RDI as usize,
    libc::REG_R8 as usize,
    libc::REG_R9 as usize,
    libc::REG_R10 as usize,
    libc::REG_R11 as usize,
    libc::REG_R12 as usize,
    libc::REG_R13 as usize,
    libc::REG_R14 as usize,
    libc::REG_R15 as usize,
];
