"""Read data sets from files, folders, tables and TensorFlow Datasets."""
