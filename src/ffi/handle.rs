//! Handles are keys into a table whose memory is never freed: any key, however wrong, can be looked up
//! safely. No unsafe code.
//!
//! A key is a slot's number and the slot's generation; no key is ever used twice. It is odd and not NULL, is never
//! read as an address, and one bit tells clients from configs. Looking a key up takes no lock.
//! While its value is being ended, a slot holds the key without the lowest bit.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use once_cell::race::OnceBox;

use crate::process::{self, PerProcess};

/// Bits of a key for the slot's number: 16 million handles at once, 16 thousand on 32-bit devices.
const INDEX_BITS: u32 = if usize::BITS == 64 { 24 } else { 14 };
const MAX_SLOTS: usize = 1 << INDEX_BITS;
/// The lowest bit is 1, the next one is the kind, then come the index and the generation.
const INDEX_SHIFT: u32 = 2;
const GENERATION_SHIFT: u32 = INDEX_SHIFT + INDEX_BITS;
const MAX_GENERATION: usize = usize::MAX >> GENERATION_SHIFT;

/// Slots come in chunks that double in size and never move.
const FIRST_CHUNK: usize = 16;
const CHUNKS: usize = (MAX_SLOTS / FIRST_CHUNK).ilog2() as usize + 1;

/// What a handle stands for.
#[derive(Clone, Copy)]
#[repr(usize)]
pub(super) enum Kind {
    Client = 0,
    Config = 1,
}

/// The table of one kind of handle. `T` is what a handle stands for; `L` belongs to the slot and is never
/// freed, so that it can be read without a reference count.
pub(super) struct Table<T, L> {
    kind: Kind,
    chunks: [OnceBox<Vec<Slot<T, L>>>; CHUNKS],
    /// How many slots were ever used.
    used: AtomicUsize,
    /// Slots to use again, longest unused first. A forked child forgets its parent's: the lock may be
    /// held by a thread that it does not have.
    free: PerProcess<Mutex<VecDeque<usize>>>,
}

pub(super) struct Slot<T, L> {
    /// The key that is valid now, [`ending`] of it while the value is being ended, 0 for none.
    key: AtomicUsize,
    generation: AtomicUsize,
    value: ArcSwapOption<T>,
    pub slot_data: L,
}

impl<T, L: Default> Table<T, L> {
    pub const fn new(kind: Kind) -> Table<T, L> {
        Table {
            kind,
            chunks: [const { OnceBox::new() }; CHUNKS],
            used: AtomicUsize::new(0),
            free: PerProcess::new_static(Mutex::new(VecDeque::new())),
        }
    }

    /// Makes a value, with access to the slot's data, and a key for it. `Ok(None)`: the table is full.
    pub fn insert<E>(&self, make: impl FnOnce(&L) -> Result<T, E>) -> Result<Option<usize>, E> {
        // Before a lock is taken that a fork could leave taken in the child.
        process::init();
        let reused = self.free(|free| free.pop_front());
        let index = reused.unwrap_or_else(|| self.used.fetch_add(1, Ordering::Relaxed));
        if index >= MAX_SLOTS {
            self.used.fetch_sub(1, Ordering::Relaxed);
            return Ok(None);
        }
        let slot = self.slot_at(index);
        let value = make(&slot.slot_data).inspect_err(|_| self.recycle(index, slot))?;
        slot.value.store(Some(Arc::new(value)));
        let generation = slot.generation.fetch_add(1, Ordering::Relaxed) + 1;
        let key =
            generation << GENERATION_SHIFT | index << INDEX_SHIFT | (self.kind as usize) << 1 | 1;
        slot.key.store(key, Ordering::Release);
        Ok(Some(key))
    }

    /// The slot of a key that is valid now. It may become invalid at any time: whoever reads
    /// [`Slot::slot_data`] asks [`Slot::has_key`] again afterwards.
    #[inline(always)]
    pub fn find(&self, key: usize) -> Option<&Slot<T, L>> {
        let (chunk, offset) = place(key >> INDEX_SHIFT & (MAX_SLOTS - 1));
        let slot = self.chunks[chunk].get()?.get(offset)?;
        slot.has_key(key).then_some(slot)
    }

    /// What the key stands for.
    pub fn get(&self, key: usize) -> Option<Arc<T>> {
        let slot = self.find(key)?;
        let value = slot.value.load_full();
        value.filter(|_| slot.has_key(key))
    }

    /// Makes the key invalid for ever, then lets `end` end the value. Only then can the slot be used
    /// again. Of several threads that remove the same key, each returns only once its own `end` has, so
    /// `end` may run on several at once. Does nothing for a key that is not valid.
    pub fn remove(&self, key: usize, end: impl FnOnce(&T)) {
        let (chunk, offset) = place(key >> INDEX_SHIFT & (MAX_SLOTS - 1));
        let slots = self.chunks[chunk].get().filter(|_| is_key(key));
        let Some(slot) = slots.and_then(|slots| slots.get(offset)) else {
            return;
        };
        let (ending, order) = (ending(key), (Ordering::AcqRel, Ordering::Acquire));
        match slot.key.compare_exchange(key, ending, order.0, order.1) {
            Ok(_) => {
                if let Some(value) = slot.value.load_full() {
                    end(&value);
                }
                slot.key.store(0, Ordering::Release);
                slot.value.store(None);
                self.recycle(key >> INDEX_SHIFT & (MAX_SLOTS - 1), slot);
            }
            Err(now) if now == ending => {
                let value = slot.value.load_full();
                // Otherwise the other thread has ended it meanwhile.
                if let Some(value) = value.filter(|_| slot.key.load(Ordering::Acquire) == ending) {
                    end(&value);
                }
            }
            Err(_) => {}
        }
    }

    /// A slot whose generations are used up is not used again: a key must never be repeated.
    fn recycle(&self, index: usize, slot: &Slot<T, L>) {
        if slot.generation.load(Ordering::Relaxed) < MAX_GENERATION {
            self.free(|free| free.push_back(index));
        }
    }

    fn free<R>(&self, act: impl FnOnce(&mut VecDeque<usize>) -> R) -> R {
        let free = self.free.get(Mutex::default);
        act(&mut free.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn slot_at(&self, index: usize) -> &Slot<T, L> {
        let (chunk, offset) = place(index);
        let slots = self.chunks[chunk].get_or_init(|| {
            let slots = (0..FIRST_CHUNK << chunk).map(|_| Slot::new()).collect();
            Box::new(slots)
        });
        &slots[offset]
    }
}

impl<T, L: Default> Slot<T, L> {
    fn new() -> Slot<T, L> {
        Slot {
            key: AtomicUsize::new(0),
            generation: AtomicUsize::new(0),
            value: ArcSwapOption::empty(),
            slot_data: L::default(),
        }
    }

    /// Whether this key is valid now.
    #[inline(always)]
    pub fn has_key(&self, key: usize) -> bool {
        self.key.load(Ordering::Acquire) == key && is_key(key)
    }
}

#[inline(always)]
fn is_key(key: usize) -> bool {
    key & 1 == 1
}

fn ending(key: usize) -> usize {
    key & !1
}

/// The chunk and the place in it: chunk `c` has `FIRST_CHUNK << c` slots.
#[inline(always)]
fn place(index: usize) -> (usize, usize) {
    let shifted = index + FIRST_CHUNK;
    let chunk = (shifted / FIRST_CHUNK).ilog2() as usize;
    (chunk, shifted - (FIRST_CHUNK << chunk))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::thread;

    fn insert(table: &Table<u32, ()>, value: u32) -> usize {
        table.insert(|()| Ok::<_, ()>(value)).unwrap().unwrap()
    }

    #[test]
    fn a_key_finds_its_value_only_until_it_is_freed() {
        let table = Table::new(Kind::Client);
        let key = insert(&table, 7);
        assert_eq!(table.get(key).as_deref(), Some(&7));
        table.remove(key, |_| {});
        assert_eq!(table.get(key), None);
        for value in 0..1000 {
            let next = insert(&table, value);
            assert_ne!(next, key);
            assert_eq!(table.get(key), None);
            table.remove(next, |_| {});
        }
    }

    #[test]
    fn both_threads_that_free_one_handle_return_only_after_its_value_was_ended() {
        let table = Table::new(Kind::Client);
        let key = insert(&table, 7);
        let both = Barrier::new(2);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    table.remove(key, |_| {
                        assert_eq!(table.get(key), None);
                        table.remove(ending(key), |_| panic!("a key that was made up"));
                        both.wait();
                    })
                });
            }
        });
        table.remove(key, |_| panic!("it was freed already"));
        let next = insert(&table, 8);
        assert_eq!(next >> INDEX_SHIFT & (MAX_SLOTS - 1), 0);
    }

    #[test]
    fn a_key_of_the_other_kind_finds_nothing() {
        let (clients, configs) = (Table::new(Kind::Client), Table::new(Kind::Config));
        let (client, config) = (insert(&clients, 1), insert(&configs, 2));
        assert_ne!(client, config);
        assert_eq!(clients.get(config), None);
        assert_eq!(configs.get(client), None);
    }

    #[test]
    fn made_up_keys_find_nothing() {
        let table = Table::new(Kind::Client);
        let key = insert(&table, 7);
        let made_up = (0..usize::BITS).map(|bit| key ^ 1 << bit);
        for key in made_up.chain([0, 1, 2, 3, usize::MAX, usize::MAX - 1, isize::MAX as usize]) {
            assert_eq!(table.get(key), None, "{key:#x}");
            table.remove(key, |_| panic!("{key:#x} was freed"));
        }
    }

    #[test]
    fn a_slot_whose_generations_are_used_up_is_not_used_again() {
        let table = Table::new(Kind::Client);
        let key = insert(&table, 7);
        table
            .slot_at(0)
            .generation
            .store(MAX_GENERATION, Ordering::Relaxed);
        table.remove(key, |_| {});
        let next = insert(&table, 8);
        assert_eq!(next >> INDEX_SHIFT & (MAX_SLOTS - 1), 1);
    }

    #[test]
    fn ten_thousand_handles_exist_at_the_same_time() {
        let table = Table::new(Kind::Config);
        let keys: Vec<usize> = (0..10_000).map(|value| insert(&table, value)).collect();
        for (value, &key) in (0..).zip(&keys) {
            assert_eq!(table.get(key).as_deref(), Some(&value));
        }
    }

    #[test]
    fn a_full_table_accepts_values_again_after_one_was_freed() {
        let table = Table::new(Kind::Client);
        let key = insert(&table, 7);
        table.used.store(MAX_SLOTS, Ordering::Relaxed);
        for _ in 0..2 {
            assert_eq!(table.insert(|()| Ok::<_, ()>(8)), Ok(None));
        }
        table.remove(key, |_| {});
        let next = insert(&table, 9);
        assert_eq!(table.get(next).as_deref(), Some(&9));
    }

    #[test]
    fn a_slot_whose_value_could_not_be_made_is_used_for_the_next() {
        let table = Table::<u32, ()>::new(Kind::Client);
        assert_eq!(table.insert(|()| Err("no")), Err("no"));
        let key = insert(&table, 7);
        assert_eq!(key >> INDEX_SHIFT & (MAX_SLOTS - 1), 0);
    }

    #[test]
    fn every_index_has_its_own_place() {
        let mut expected = (0, 0);
        for index in 0..MAX_SLOTS.min(100_000) {
            assert_eq!(place(index), expected);
            expected.1 += 1;
            if expected.1 == FIRST_CHUNK << expected.0 {
                expected = (expected.0 + 1, 0);
            }
        }
        assert!(place(MAX_SLOTS - 1).0 < CHUNKS);
    }
}
