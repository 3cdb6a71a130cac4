//! The page table crates that Loam's are measured against, each behind the C functions
//! of `struct paging_peer` in `bench/paging/peer.h`.
//!
//! Frames for tables come one after the other from the same memory as Loam's. Neither
//! crate is locked, reserves before it writes, or gives emptied tables back.

use core::ffi::c_char;

const PAGE: u64 = 4096;
const TABLES: u64 = 0x10_0000; // PAGING_TABLES
const NONE: u64 = u64::MAX; // PAGING_NONE

/// Same layout as `struct paging_setup`.
#[repr(C)]
pub struct Setup {
    memory: *mut u8,
    frame_count: u64,
    area_bytes: u64,
    page_size: u64,
}

/// Same layout as `struct paging_peer`.
#[repr(C)]
pub struct PagingPeer {
    name: *const c_char,
    init: Option<unsafe extern "C" fn(*const Setup) -> bool>,
    root: Option<unsafe extern "C" fn() -> u64>,
    map: Option<unsafe extern "C" fn(u64, u64, u64, u64) -> bool>,
    protect: Option<unsafe extern "C" fn(u64, u64) -> bool>,
    unmap: Option<unsafe extern "C" fn(u64, u64) -> bool>,
    map_page: Option<unsafe extern "C" fn(u64, u64) -> bool>,
    unmap_pages: Option<unsafe extern "C" fn(*const u64, usize) -> u64>,
    translate: Option<unsafe extern "C" fn(u64) -> u64>,
}

// The name points to a literal.
unsafe impl Sync for PagingPeer {}

/// Frames for tables, in order of their addresses.
struct Bump {
    next: u64,
    end: u64,
}

impl Bump {
    const fn new() -> Self {
        Self { next: 0, end: 0 }
    }

    fn fill(&mut self, setup: &Setup) {
        self.next = TABLES;
        self.end = TABLES + setup.frame_count * PAGE;
    }

    #[inline(always)]
    fn take(&mut self) -> Option<u64> {
        if self.next == self.end {
            return None;
        }
        self.next += PAGE;
        Some(self.next - PAGE)
    }
}

/// Where physical address 0 would be.
fn offset(setup: &Setup) -> u64 {
    (setup.memory as u64).wrapping_sub(TABLES)
}

/// `OffsetPageTable`: one page a call; addresses are not checked where that can be had.
mod x86_64_crate {
    use super::{offset, Bump, Setup, NONE, PAGE};
    use x86_64::structures::paging::mapper::{MapToError, Mapper, Translate};
    use x86_64::structures::paging::{
        FrameAllocator, OffsetPageTable, Page, PageSize, PageTable, PageTableFlags, PhysFrame,
        Size2MiB, Size4KiB,
    };
    use x86_64::{PhysAddr, VirtAddr};

    unsafe impl FrameAllocator<Size4KiB> for Bump {
        #[inline(always)]
        fn allocate_frame(&mut self) -> Option<PhysFrame> {
            let at = self.take()?;
            Some(unsafe { PhysFrame::from_start_address_unchecked(PhysAddr::new_unsafe(at)) })
        }
    }

    static mut FRAMES: Bump = Bump::new();
    static mut MAPPER: Option<OffsetPageTable<'static>> = None;
    static mut ROOT: u64 = 0;

    /// The bench is one thread and holds no reference across calls.
    #[inline(always)]
    unsafe fn mapper() -> &'static mut OffsetPageTable<'static> {
        (*(&raw mut MAPPER)).as_mut().unwrap_unchecked()
    }

    #[inline(always)]
    unsafe fn page<S: PageSize>(virt: u64) -> Page<S> {
        Page::from_start_address_unchecked(VirtAddr::new_unsafe(virt))
    }

    #[inline(always)]
    unsafe fn frame<S: PageSize>(phys: u64) -> PhysFrame<S> {
        PhysFrame::from_start_address_unchecked(PhysAddr::new_unsafe(phys))
    }

    pub unsafe extern "C" fn init(setup: *const Setup) -> bool {
        let frames = &mut *(&raw mut FRAMES);
        frames.fill(&*setup);
        let Some(root) = frames.take() else { return false };
        let offset = VirtAddr::new(offset(&*setup));
        let table = (offset + root).as_mut_ptr::<PageTable>();
        table.write(PageTable::new());
        *(&raw mut ROOT) = root;
        *(&raw mut MAPPER) = Some(OffsetPageTable::new(&mut *table, offset));
        true
    }

    pub unsafe extern "C" fn root() -> u64 {
        *(&raw const ROOT)
    }

    const FLAGS: PageTableFlags = PageTableFlags::PRESENT
        .union(PageTableFlags::WRITABLE)
        .union(PageTableFlags::NO_EXECUTE);
    const PROTECTED: PageTableFlags = PageTableFlags::PRESENT.union(PageTableFlags::NO_EXECUTE);

    #[inline(always)]
    unsafe fn map_pages<S: PageSize>(
        virt: u64,
        phys: u64,
        size: u64,
        flags: PageTableFlags,
    ) -> Result<(), MapToError<S>>
    where
        OffsetPageTable<'static>: Mapper<S>,
    {
        let mapper = mapper();
        let frames = &mut *(&raw mut FRAMES);
        for at in (0..size).step_by(S::SIZE as usize) {
            mapper.map_to(page::<S>(virt + at), frame::<S>(phys + at), flags, frames)?.ignore();
        }
        Ok(())
    }

    pub unsafe extern "C" fn map(virt: u64, phys: u64, size: u64, page_size: u64) -> bool {
        if page_size == PAGE {
            map_pages::<Size4KiB>(virt, phys, size, FLAGS).is_ok()
        } else {
            map_pages::<Size2MiB>(virt, phys, size, FLAGS).is_ok()
        }
    }

    pub unsafe extern "C" fn protect(virt: u64, size: u64) -> bool {
        let mapper = mapper();
        for at in (0..size).step_by(PAGE as usize) {
            match mapper.update_flags(page::<Size4KiB>(virt + at), PROTECTED) {
                Ok(flush) => flush.ignore(),
                Err(_) => return false,
            }
        }
        true
    }

    pub unsafe extern "C" fn unmap(virt: u64, size: u64) -> bool {
        let mapper = mapper();
        for at in (0..size).step_by(PAGE as usize) {
            match mapper.unmap(page::<Size4KiB>(virt + at)) {
                Ok((_, flush)) => flush.ignore(),
                Err(_) => return false,
            }
        }
        true
    }

    pub unsafe extern "C" fn map_page(virt: u64, phys: u64) -> bool {
        let frames = &mut *(&raw mut FRAMES);
        match mapper().map_to(page::<Size4KiB>(virt), frame(phys), FLAGS, frames) {
            Ok(flush) => flush.ignore(),
            Err(_) => return false,
        }
        true
    }

    /// Each unmap asks for a flush of its own.
    pub unsafe extern "C" fn unmap_pages(virts: *const u64, count: usize) -> u64 {
        let mapper = mapper();
        for &virt in core::slice::from_raw_parts(virts, count) {
            match mapper.unmap(page::<Size4KiB>(virt)) {
                Ok((_, flush)) => flush.ignore(),
                Err(_) => return NONE,
            }
        }
        count as u64
    }

    pub unsafe extern "C" fn translate(virt: u64) -> u64 {
        match mapper().translate_addr(VirtAddr::new_unsafe(virt)) {
            Some(phys) => phys.as_u64(),
            None => NONE,
        }
    }
}

/// `X64PageTable`: its calls for ranges, and one cursor for each call.
mod multiarch {
    use super::{offset, Bump, Setup, NONE, PAGE};
    use memory_addr::{PhysAddr, VirtAddr};
    use page_table_multiarch::x86_64::X64PageTable;
    use page_table_multiarch::{MappingFlags, PageSize, PagingHandler};

    static mut FRAMES: Bump = Bump::new();
    static mut OFFSET: usize = 0;
    static mut TABLE: Option<X64PageTable<Frames>> = None;

    struct Frames;

    impl PagingHandler for Frames {
        #[inline(always)]
        fn alloc_frames(_count: usize, _align: usize) -> Option<PhysAddr> {
            unsafe { (*(&raw mut FRAMES)).take().map(|at| PhysAddr::from(at as usize)) }
        }

        fn dealloc_frames(_at: PhysAddr, _count: usize) {}

        #[inline(always)]
        fn phys_to_virt(at: PhysAddr) -> VirtAddr {
            unsafe { VirtAddr::from(at.as_usize().wrapping_add(*(&raw const OFFSET))) }
        }
    }

    /// The bench is one thread and holds no reference across calls.
    #[inline(always)]
    unsafe fn table() -> &'static mut X64PageTable<Frames> {
        (*(&raw mut TABLE)).as_mut().unwrap_unchecked()
    }

    const FLAGS: MappingFlags = MappingFlags::READ.union(MappingFlags::WRITE);
    const FULL_FLUSH_ABOVE: usize = 32; // SMALL_FLUSH_THRESHOLD there

    pub unsafe extern "C" fn init(setup: *const Setup) -> bool {
        core::mem::forget((*(&raw mut TABLE)).take()); // the memory is in other hands by now
        (*(&raw mut FRAMES)).fill(&*setup);
        *(&raw mut OFFSET) = offset(&*setup) as usize;
        *(&raw mut TABLE) = X64PageTable::try_new().ok();
        (*(&raw const TABLE)).is_some()
    }

    pub unsafe extern "C" fn root() -> u64 {
        table().root_paddr().as_usize() as u64
    }

    pub unsafe extern "C" fn map(virt: u64, phys: u64, size: u64, page_size: u64) -> bool {
        let up = (phys as usize).wrapping_sub(virt as usize);
        let to = |virt: VirtAddr| PhysAddr::from(virt.as_usize().wrapping_add(up));
        let (virt, size) = (VirtAddr::from(virt as usize), size as usize);
        table().cursor().map_region(virt, to, size, FLAGS, page_size != PAGE).is_ok()
    }

    pub unsafe extern "C" fn protect(virt: u64, size: u64) -> bool {
        let virt = VirtAddr::from(virt as usize);
        table().cursor().protect_region(virt, size as usize, MappingFlags::READ).is_ok()
    }

    pub unsafe extern "C" fn unmap(virt: u64, size: u64) -> bool {
        table().cursor().unmap_region(VirtAddr::from(virt as usize), size as usize).is_ok()
    }

    pub unsafe extern "C" fn map_page(virt: u64, phys: u64) -> bool {
        let (virt, phys) = (VirtAddr::from(virt as usize), PhysAddr::from(phys as usize));
        table().cursor().map(virt, phys, PageSize::Size4K, FLAGS).is_ok()
    }

    /// A cursor flushes when it goes: page by page, or from so many on everything.
    pub unsafe extern "C" fn unmap_pages(virts: *const u64, count: usize) -> u64 {
        let mut cursor = table().cursor();
        for &virt in core::slice::from_raw_parts(virts, count) {
            if cursor.unmap(VirtAddr::from(virt as usize)).is_err() {
                return NONE;
            }
        }
        if count > FULL_FLUSH_ABOVE { 1 } else { count as u64 }
    }

    pub unsafe extern "C" fn translate(virt: u64) -> u64 {
        match table().query(VirtAddr::from(virt as usize)) {
            Ok((phys, _, _)) => phys.as_usize() as u64,
            Err(_) => NONE,
        }
    }
}

#[no_mangle]
pub static PAGING_PEERS: [PagingPeer; 3] = [
    PagingPeer {
        name: c"x86_64".as_ptr(),
        init: Some(x86_64_crate::init),
        root: Some(x86_64_crate::root),
        map: Some(x86_64_crate::map),
        protect: Some(x86_64_crate::protect),
        unmap: Some(x86_64_crate::unmap),
        map_page: Some(x86_64_crate::map_page),
        unmap_pages: Some(x86_64_crate::unmap_pages),
        translate: Some(x86_64_crate::translate),
    },
    PagingPeer {
        name: c"multiarch".as_ptr(),
        init: Some(multiarch::init),
        root: Some(multiarch::root),
        map: Some(multiarch::map),
        protect: Some(multiarch::protect),
        unmap: Some(multiarch::unmap),
        map_page: Some(multiarch::map_page),
        unmap_pages: Some(multiarch::unmap_pages),
        translate: Some(multiarch::translate),
    },
    PagingPeer {
        name: core::ptr::null(),
        init: None,
        root: None,
        map: None,
        protect: None,
        unmap: None,
        map_page: None,
        unmap_pages: None,
        translate: None,
    },
];
