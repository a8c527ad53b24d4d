//! The page that stands for a document which has no pages: a small black and white TIFF that says so.

/// Pixels; at 100 to the inch a letter page.
const WIDTH: usize = 850;
const HEIGHT: usize = 1100;
/// Bytes of a row.
const ROW: usize = WIDTH.div_ceil(8);
/// Pixels for each dot of a letter.
const SCALE: usize = 4;

/// Five columns of seven dots, the lowest bit on top.
fn glyph(c: char) -> [u8; 5] {
    match c {
        'A' => [0x7e, 0x11, 0x11, 0x11, 0x7e],
        'C' => [0x3e, 0x41, 0x41, 0x41, 0x22],
        'D' => [0x7f, 0x41, 0x41, 0x22, 0x1c],
        'E' => [0x7f, 0x49, 0x49, 0x49, 0x41],
        'F' => [0x7f, 0x09, 0x09, 0x09, 0x01],
        'G' => [0x3e, 0x41, 0x49, 0x49, 0x7a],
        'I' => [0x00, 0x41, 0x7f, 0x41, 0x00],
        'M' => [0x7f, 0x02, 0x0c, 0x02, 0x7f],
        'N' => [0x7f, 0x04, 0x08, 0x10, 0x7f],
        'O' => [0x3e, 0x41, 0x41, 0x41, 0x3e],
        'P' => [0x7f, 0x09, 0x09, 0x09, 0x06],
        'R' => [0x7f, 0x09, 0x19, 0x29, 0x46],
        'T' => [0x01, 0x01, 0x7f, 0x01, 0x01],
        'U' => [0x3f, 0x40, 0x40, 0x40, 0x3f],
        'V' => [0x1f, 0x20, 0x40, 0x20, 0x1f],
        '0' => [0x3e, 0x51, 0x49, 0x45, 0x3e],
        '1' => [0x00, 0x42, 0x7f, 0x40, 0x00],
        '2' => [0x42, 0x61, 0x51, 0x49, 0x46],
        '3' => [0x21, 0x41, 0x45, 0x4b, 0x31],
        '4' => [0x18, 0x14, 0x12, 0x7f, 0x10],
        '5' => [0x27, 0x45, 0x45, 0x45, 0x39],
        '6' => [0x3c, 0x4a, 0x49, 0x49, 0x30],
        '7' => [0x01, 0x71, 0x09, 0x05, 0x03],
        '8' => [0x36, 0x49, 0x49, 0x49, 0x36],
        '9' => [0x06, 0x49, 0x49, 0x29, 0x1e],
        _ => [0; 5],
    }
}

fn draw(page: &mut [u8], text: &str, top: usize) {
    let left = WIDTH.saturating_sub(text.chars().count() * 6 * SCALE) / 2;
    for (n, c) in text.chars().enumerate() {
        for (column, dots) in glyph(c).into_iter().enumerate() {
            for y in (0..7 * SCALE).filter(|y| dots >> (y / SCALE) & 1 == 1) {
                for x in 0..SCALE {
                    let x = left + (n * 6 + column) * SCALE + x;
                    if let Some(byte) = page.get_mut((top + y) * ROW + x / 8) {
                        *byte |= 0x80 >> (x % 8);
                    }
                }
            }
        }
    }
}

/// PackBits, row by row.
fn packed(page: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for row in page.chunks(ROW) {
        let mut rest = row;
        while let Some(first) = rest.first() {
            let run = rest.iter().take(128).take_while(|byte| *byte == first).count();
            // A run of one is told as one literal byte.
            if run > 1 {
                out.push((257 - run) as u8);
            } else {
                out.push(0);
            }
            out.push(*first);
            rest = &rest[run..];
        }
    }
    out
}

/// The page of the document with this id: `PRODUCED IN NATIVE FORMAT` and the id.
pub fn tiff(id: &str) -> Vec<u8> {
    let mut page = vec![0; ROW * HEIGHT];
    draw(&mut page, "PRODUCED IN NATIVE FORMAT", 500);
    draw(&mut page, id, 560);
    let strip = packed(&page);
    const ENTRIES: u16 = 12;
    let directory = 8;
    let resolution = directory + 2 + 12 * u32::from(ENTRIES) + 4;
    let data = resolution + 8;
    let (short, long, rational) = (3_u16, 4_u16, 5_u16);
    let (width, height) = (WIDTH as u32, HEIGHT as u32);
    let entries: [(u16, u16, u32); ENTRIES as usize] = [
        (256, long, width),
        (257, long, height),
        (258, short, 1),      // bits per sample
        (259, short, 32_773), // PackBits
        (262, short, 0),      // 0 is white
        (273, long, data),
        (277, short, 1), // samples per pixel
        (278, long, height),
        (279, long, strip.len() as u32),
        (282, rational, resolution),
        (283, rational, resolution),
        (296, short, 2), // inch
    ];
    let mut out = b"II*\0".to_vec();
    out.extend(directory.to_le_bytes());
    out.extend(ENTRIES.to_le_bytes());
    for (tag, kind, value) in entries {
        out.extend(tag.to_le_bytes());
        out.extend(kind.to_le_bytes());
        out.extend(1_u32.to_le_bytes());
        out.extend(value.to_le_bytes());
    }
    out.extend(0_u32.to_le_bytes());
    out.extend(100_u32.to_le_bytes());
    out.extend(1_u32.to_le_bytes());
    out.extend(strip);
    out
}
