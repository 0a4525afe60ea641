"""Where data sets are read from: files, folders, tables and TensorFlow Datasets."""
