mod pin;
mod row_macs;
